from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from st4vla.contracts.errors import (
    EngineError,
    FileAlteredError,
    FingerprintMismatchError,
    ManifestError,
    ParityError,
    PromptError,
    UsageError,
)
from st4vla.contracts.files import file_entry, write_manifest
from st4vla.contracts.manifests import (
    BUNDLE_MANIFEST,
    ENGINES_MANIFEST,
    ActionGate,
    Bundle,
    DeviceFingerprint,
    Parity,
    Quantization,
    degradation,
)
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.compiling import compile_bundle, open_engines
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.engines.tensorrt_backend import TensorRtBackend

BACKEND = OnnxRuntimeBackend()
HERE = DeviceFingerprint(machine="x86_64", processor="this", backend="onnxruntime", compiler="1")


def rewritten(bundle: Bundle, name: str, data: bytes) -> Bundle:
    """Replace a file of the bundle and promise its new digest."""
    (bundle.folder / name).write_bytes(data)
    files = bundle.manifest.files | {name: file_entry(bundle.folder / name)}
    write_manifest(bundle.folder / BUNDLE_MANIFEST, msgspec.structs.replace(bundle.manifest, files=files))
    return Bundle(bundle.folder)


def quantized(bundle: Bundle, cosine: float = 1.0, **expected: float) -> Bundle:
    """Return the bundle with what was measured of it, as if its graphs had smaller numbers."""
    relative = {"planner": 0.0, "bridge": 0.0, "sampler": 0.0, "actions": 0.0, **expected}
    found = Quantization(
        form="cpu",
        precisions={"sampler": {"blocks.0": "int8", "blocks.1": "float16"}},
        actions=ActionGate(4, cosine, cosine, 0.001, min_cosine=0.999, max_joint_error_rad=0.02),
        grounding=None,
        expected={name: Parity(each, each, 0.99) for name, each in relative.items()},
    )
    write_manifest(bundle.folder / BUNDLE_MANIFEST, msgspec.structs.replace(bundle.manifest, quantization=found))
    return Bundle(bundle.folder)


def with_golden(bundle: Bundle, work: Path, name: str, factor: float) -> Bundle:
    """Return the bundle with some golden numbers multiplied."""
    with np.load(bundle.path("golden.npz")) as archive:
        golden = dict(archive)
    golden[name] = golden[name] * np.float32(factor)
    np.savez(work / "wrong.npz", **golden)
    return rewritten(bundle, "golden.npz", (work / "wrong.npz").read_bytes())


def test_engines_are_checked_measured_and_served(bundle: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "engines"
    made = compile_bundle(bundle, BACKEND, HERE, target)
    assert all(entry.parity.max_relative < 1e-5 for entry in made.engines.values())
    assert all(entry.latency_ms > 0 for entry in made.engines.values())
    assert made.actions.max_relative < 1e-5
    found = open_engines(target, bundle, HERE)
    assert found == made
    views = np.full((2, 28, 28, 3), 7, np.uint8)
    with BundlePolicy(bundle, found, target, BACKEND) as policy:
        policy.warm_up()
        plan = policy.plan(views, "lift")
        first, second = (policy.act(views, plan, seed=3).actions for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert np.abs(policy.unnormalize(first)[:, :6]).max() <= 0.01 + 1e-9
        with pytest.raises(PromptError, match="at most 200 fit: shorten it"):
            policy.plan(views, "lift " * 300)


def test_weights_beside_a_graph_become_the_engines_own(bundle: Bundle, tmp_path: Path) -> None:
    graph = onnx.load(bundle.path("planner.onnx"))
    # Looked up by token, so that it cannot be folded away.
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(512, np.float32), "table"))
    graph.graph.node[-1].input[0] = "looked_up"
    graph.graph.node.insert(3, onnx.helper.make_node("Gather", ["table", "token_ids"], ["zeros"]))
    graph.graph.node.insert(4, onnx.helper.make_node("Add", ["plan_keys", "zeros"], ["looked_up"]))
    made = tmp_path / "planner.onnx"
    onnx.save(graph, made, save_as_external_data=True, location="planner.onnx.data")
    rewritten(bundle, "planner.onnx.data", (tmp_path / "planner.onnx.data").read_bytes())
    outside = rewritten(Bundle(bundle.folder), "planner.onnx", made.read_bytes())
    target = tmp_path / "engines"
    engines = compile_bundle(outside, BACKEND, HERE, target)
    assert set(engines.files) == {path.name for path in target.iterdir()} - {ENGINES_MANIFEST}
    assert "planner.engine.data" in engines.files
    views, ids = np.zeros((2, 28, 28, 3), np.uint8), np.array([[1, 2]], np.int64)
    outside.path("planner.onnx.data").unlink()
    moved = target.rename(tmp_path / "moved")
    with BACKEND.load(moved / "planner.engine", outside.tensors("planner")) as engine:
        np.testing.assert_array_equal(engine.run({"views": views, "token_ids": ids})["plan_values"], [[1, 2]])
    (moved / "planner.engine.data").write_bytes(b"other")
    with pytest.raises(FileAlteredError, match=r"planner\.engine\.data was altered"):
        open_engines(moved, outside, HERE)


def test_plans_outlive_later_plans(bundle: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "engines"
    engines = compile_bundle(bundle, BACKEND, HERE, target)
    dark, bright = (np.full((2, 28, 28, 3), value, np.uint8) for value in (1, 200))
    with BundlePolicy(bundle, engines, target, BACKEND) as policy:
        first = policy.plan(dark, "lift")
        before = policy.act(dark, first, seed=1).actions
        plans = [policy.plan(bright, "lift " * count) for count in (1, 1, 2, 3, 1)]
        chunks = [policy.act(bright, plan, seed=2).actions for plan in plans]
        np.testing.assert_array_equal(policy.act(dark, first, seed=1).actions, before)
        np.testing.assert_array_equal(policy.act(bright, plans[0], seed=2).actions, chunks[0])


def test_compiling_again_replaces_engines_and_leaves_nothing_beside_them(bundle: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "engines"
    for _ in range(2):
        compile_bundle(bundle, BACKEND, HERE, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "engines"]


@pytest.mark.parametrize(
    ("name", "blamed"),
    [("sampler/output/next_chunk", "engine 'sampler'"), ("policy/output/actions", "the chunk of all engines")],
)
def test_engines_that_differ_from_the_golden_outputs_are_not_written(
    bundle: Bundle, tmp_path: Path, name: str, blamed: str
) -> None:
    wrong = with_golden(bundle, tmp_path, name, 1.01)
    target = tmp_path / "engines"
    with pytest.raises(ParityError, match=rf"{blamed} of onnxruntime differs .* no engines were written"):
        compile_bundle(wrong, BACKEND, HERE, target)
    assert not target.exists()


@pytest.mark.parametrize(
    ("what", "name"), [("sampler", "sampler/output/next_chunk"), ("actions", "policy/output/actions")]
)
def test_quantised_engines_are_held_to_what_was_measured_of_them(
    bundle: Bundle, tmp_path: Path, what: str, name: str
) -> None:
    # An eleventh less than golden: 0.1 of it, where 0.07 was expected and half as much again is allowed.
    far = with_golden(bundle, tmp_path, name, 1 / 1.1)
    made = compile_bundle(quantized(far, **{what: 0.07}), BACKEND, HERE, tmp_path / "engines")
    parity = made.actions if what == "actions" else made.engines[what].parity
    assert parity.max_relative == pytest.approx(0.1, rel=1e-3)
    assert {each: entry.precision for each, entry in made.engines.items()} == {
        "planner": "float32",
        "bridge": "float32",
        "sampler": "float16+int8",
    }
    for other, expected in ((what, 0.06), ("bridge", 0.07)):
        with pytest.raises(
            ParityError, match=r"differs from the golden outputs by 1\.00e-01 .* no engines were written"
        ):
            compile_bundle(quantized(Bundle(far.folder), **{other: expected}), BACKEND, HERE, tmp_path / other)
        assert not (tmp_path / other).exists()


def test_a_degraded_bundle_is_announced_where_it_is_compiled_and_served(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for cosine, said in ((1.0, []), (0.9, [degradation(quantized(bundle, 0.9).manifest)])):
        caplog.clear()
        lines, given = list[str](), quantized(Bundle(bundle.folder), cosine)
        target = tmp_path / f"engines-{cosine}"
        engines = compile_bundle(given, BACKEND, HERE, target, report=lines.append)
        assert [line for line in lines if "degraded" in line] == said
        with BundlePolicy(given, engines, target, BACKEND):
            pass
        assert [record.getMessage() for record in caplog.records] == said
    assert said[0] is not None
    assert said[0] == (
        "bundle 'trial' is degraded: quantising it missed its gate: cosine of actions 0.90000 (wanted 0.999), "
        "joints 1.0 mrad (allowed 20)"
    )


def test_a_bundle_for_onnx_runtime_is_refused_by_other_libraries(bundle: Bundle, tmp_path: Path) -> None:
    other = TensorRtBackend("tensorrt", "comes with JetPack")
    with pytest.raises(EngineError, match="for ONNX Runtime on a CPU, which tensorrt is not; compile with --backend"):
        compile_bundle(quantized(bundle), other, HERE, tmp_path / "engines")
    assert not (tmp_path / "engines").exists()


def test_a_failed_build_leaves_the_old_engines(bundle: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "engines"
    compile_bundle(bundle, BACKEND, HERE, target)
    before = (target / ENGINES_MANIFEST).read_bytes()
    broken = rewritten(bundle, "bridge.onnx", b"not a graph")
    with pytest.raises(EngineError, match=r"refuses .*bridge\.onnx"):
        compile_bundle(broken, BACKEND, HERE, target)
    assert (target / ENGINES_MANIFEST).read_bytes() == before


def test_engines_of_another_device_or_bundle_are_refused_by_name(bundle: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "engines"
    compile_bundle(bundle, BACKEND, HERE, target)
    elsewhere = msgspec.structs.replace(HERE, power_mode="15W")
    with pytest.raises(FingerprintMismatchError, match=r"power_mode: '15W' here, '' there.*st4vla compile"):
        open_engines(target, bundle, elsewhere)
    other = rewritten(bundle, "tokenizer.json", bundle.path("tokenizer.json").read_bytes() + b"\n")
    with pytest.raises(FingerprintMismatchError, match="another bundle"):
        open_engines(target, other, HERE)


def test_altered_and_missing_engines_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "engines"
    with pytest.raises(ManifestError, match=r"no engines to serve.*run: st4vla compile"):
        open_engines(target, bundle, HERE)
    compile_bundle(bundle, BACKEND, HERE, target)
    (target / "bridge.engine").write_bytes(b"other")
    with pytest.raises(FileAlteredError, match=r"bridge\.engine was altered"):
        open_engines(target, bundle, HERE)


def test_a_folder_of_somebody_else_is_left_alone(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("dear")
    with pytest.raises(UsageError, match="holds something other than engines"):
        compile_bundle(bundle, BACKEND, HERE, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "dear"


def test_a_bundle_with_an_altered_file_is_not_opened(bundle: Bundle) -> None:
    (bundle.folder / "planner.onnx").write_bytes(b"other")
    with pytest.raises(FileAlteredError, match=r"planner\.onnx was altered"):
        Bundle(bundle.folder)
