"""Tests of a checkpoint's way to a bundle of smaller numbers, and from there into a runtime."""

import io
import json
import logging
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from st4vla.contracts.command_line import main
from st4vla.contracts.errors import DatasetError, ParityError, UsageError
from st4vla.contracts.manifests import GRAPH_NAMES, Bundle, BundleManifest, DeviceFingerprint, degradation
from st4vla.export.quantization import quantizing
from st4vla.export.quantization.deviation import Deviation
from st4vla.export.quantization.quantizing import PICTURE, TABLE, Material, quantize_checkpoint
from st4vla.export.quantization.recipe import get_form
from st4vla.export.quantization.sensitivity import Bounds, Sensitivity
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.compiling import compile_bundle
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.training.checkpoint import Checkpoint, save_checkpoint

BACKEND = OnnxRuntimeBackend()
HERE = DeviceFingerprint("x86_64", "this one", "onnxruntime", "1")
FLOAT32 = dict.fromkeys(GRAPH_NAMES, "float32")
pytestmark = pytest.mark.usefixtures("exported")


def quantize(
    checkpoint: Checkpoint, folder: Path, material: Material, form: str = "tensorrt", **options: Any
) -> BundleManifest:
    start = FLOAT32 | options.pop("start", {})
    return quantize_checkpoint(checkpoint, folder, get_form(form), material, name="small", start=start, **options)


def blocks_of(manifest: BundleManifest) -> Mapping[str, Mapping[str, str]]:
    assert manifest.quantization is not None
    return manifest.quantization.precisions


@pytest.fixture
def few(material: Material) -> Material:
    return replace(material, calibration_frames=1, held_out_frames=1)


@pytest.fixture(scope="module")
def printed(
    checkpoint: Checkpoint, demonstrations: Path, paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """Return what the command prints that quantises a bridge and a sampler for CPUs."""
    work, text = tmp_path_factory.mktemp("bundles"), io.StringIO()
    save_checkpoint(work / "checkpoint", checkpoint)
    command = ["quantize", str(work / "checkpoint"), "--out", str(work / "small"), "--data", str(demonstrations)]
    command += ["--for", "cpu", "--planner", "float32", "--frames", "2", "--calibration-frames", "2"]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(text):
        patch.setattr(quantizing, "export_graphs", lambda *_: dict(paths))
        assert main([*command, "--max-joint-error", "0.05"]) == 0
    return text.getvalue().splitlines()


@pytest.fixture(scope="module")
def for_cpus(printed: list[str]) -> Bundle:
    """Return a bundle whose bridge and sampler are dynamically quantised."""
    return Bundle(Path(json.loads(printed[-1])["bundle"]))


def test_the_command_ends_with_what_it_measured(printed: list[str], for_cpus: Bundle) -> None:
    said, found = json.loads(printed[-1]), for_cpus.manifest.quantization
    assert found is not None
    assert (said["ok"], said["passed"], said["iou"]) == (True, True, None)
    assert said["cosine"] == pytest.approx(found.actions.cosine, abs=1e-6)
    assert said["joint_error_rad"] == pytest.approx(found.actions.joint_error_rad, abs=1e-6)
    assert said["bytes"] == sum(path.stat().st_size for path in for_cpus.folder.iterdir()) - (
        for_cpus.path("bundle.json").stat().st_size
    )
    assert said["blocks"]["planner"] == {"float32": 9}
    assert said["blocks"]["sampler"].get("int8_dynamic", 0) >= 1
    assert any(line.startswith("as this CPU multiplies") for line in printed)


def test_a_bundle_for_cpus_says_what_it_is(for_cpus: Bundle) -> None:
    manifest, found = for_cpus.manifest, for_cpus.manifest.quantization
    assert found is not None
    assert (found.form, found.passed, found.grounding, found.overflows) == ("cpu", True, None, ())
    assert degradation(manifest) is None
    assert found.actions.frames == 2
    assert 0.999 <= found.actions.cosine < 1
    assert found.actions.trajectory_cosine <= found.actions.cosine
    assert 0 < found.actions.joint_error_rad <= found.actions.max_joint_error_rad == 0.05
    assert set(found.precisions["planner"].values()) == {"float32"}
    assert "int8_dynamic" in found.precisions["sampler"].values()
    assert set(found.expected) == {*GRAPH_NAMES, "actions"}
    assert found.expected["planner"].max_relative < 1e-4 < found.expected["sampler"].max_relative


def test_a_bundle_for_cpus_holds_whole_numbers_a_table_and_a_picture(for_cpus: Bundle) -> None:
    operators = {node.op_type for node in onnx.load(for_cpus.path("sampler.onnx")).graph.node}
    assert "MatMulInteger" in operators
    assert {TABLE, PICTURE} <= set(for_cpus.manifest.files)
    lines = for_cpus.path(TABLE).read_text().splitlines()
    chosen = [line for line in lines[1:] if line.endswith(",yes")]
    counted = sum(
        each == "int8_dynamic" for blocks in blocks_of(for_cpus.manifest).values() for each in blocks.values()
    )
    assert len(chosen) == counted > 0
    with Image.open(for_cpus.path(PICTURE)) as picture:
        assert picture.width > 400


def test_a_bundle_for_cpus_is_compiled_and_served(
    for_cpus: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []
    engines = compile_bundle(for_cpus, BACKEND, HERE, tmp_path / "engines", report=lines.append)
    assert {name: entry.precision for name, entry in engines.engines.items()}["planner"] == "float32"
    assert "int8_dynamic" in engines.engines["sampler"].precision
    assert not any("degraded" in line for line in lines)
    rng = np.random.default_rng(0)
    views = rng.integers(0, 256, (2, 224, 224, 3), np.uint8)
    with caplog.at_level(logging.WARNING), BundlePolicy(for_cpus, engines, tmp_path / "engines", BACKEND) as policy:
        policy.warm_up()
        actions = policy.act(views, policy.plan(views, "lift the cube"), seed=0).actions
    assert np.isfinite(actions).all()
    assert actions.std() > 0.01
    assert caplog.records == []


def test_a_bundle_for_tensorrt_is_typed_and_near_float32(checkpoint: Checkpoint, few: Material, tmp_path: Path) -> None:
    lines: list[str] = []
    start = {"bridge": "half", "sampler": "int8"}
    bounds = Bounds(0.99, 0.1)
    manifest = quantize(checkpoint, tmp_path / "small", few, start=start, bounds=bounds, report=lines.append)
    bundle = Bundle(tmp_path / "small")
    assert bundle.manifest == manifest
    assert manifest.quantization is not None
    assert manifest.quantization.passed
    assert set(blocks_of(manifest)["planner"].values()) == {"float32"}
    assert set(blocks_of(manifest)["bridge"].values()) == {"float16"}
    assert "int8" in blocks_of(manifest)["sampler"].values()
    assert "transformer.final_layer" not in blocks_of(manifest)["sampler"]
    for graph in GRAPH_NAMES:
        onnx.checker.check_model(str(bundle.path(f"{graph}.onnx")), full_check=True)
    types = {tensor.data_type for tensor in onnx.load(bundle.path("planner.onnx")).graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in types
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(bundle.path("sampler.onnx")).graph.node}
    assert manifest.sizes == Bundle(Path(__file__).parents[3] / "bundles" / "tiny").manifest.sizes
    assert "cosine 0.99" in lines[-1]


def test_golden_numbers_are_those_of_a_held_out_frame(for_cpus: Bundle, tiny: Bundle) -> None:
    with np.load(for_cpus.path("golden.npz")) as ours, np.load(tiny.path("golden.npz")) as squares:
        assert (ours["planner/input/views"] != squares["planner/input/views"]).any()
        assert set(ours) == set(squares)


OUT_OF_REACH: dict[str, Any] = {"fixed": True, "bounds": Bounds(min_cosine=0.9999999)}


def test_a_bundle_that_misses_its_gate_is_not_written(checkpoint: Checkpoint, few: Material, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"cosine of 0\.\d+ \(at least 1\).*no bundle was written.*--allow-degraded"):
        quantize(checkpoint, tmp_path / "small", few, start={"sampler": "int4"}, **OUT_OF_REACH)
    assert list(tmp_path.iterdir()) == []


def test_a_degraded_bundle_says_so_wherever_it_is_used(
    checkpoint: Checkpoint, few: Material, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = {"sampler": "int8_dynamic"}
    manifest = quantize(checkpoint, tmp_path / "small", few, "cpu", start=start, allow_degraded=True, **OUT_OF_REACH)
    assert manifest.quantization is not None
    assert not manifest.quantization.passed
    # Nothing was raised.
    assert set(blocks_of(manifest)["sampler"].values()) == {"int8_dynamic"}
    bundle, lines = Bundle(tmp_path / "small"), list[str]()
    warning = degradation(bundle.manifest)
    assert warning is not None
    assert warning.startswith("bundle 'small' is degraded: quantising it missed its gate: cosine of actions 0.99")
    engines = compile_bundle(bundle, BACKEND, HERE, tmp_path / "engines", report=lines.append)
    assert lines[0] == warning
    caplog.clear()
    with BundlePolicy(bundle, engines, tmp_path / "engines", BACKEND):
        pass
    assert [record.getMessage() for record in caplog.records] == [warning]


def test_actions_that_are_not_numbers_are_never_written(
    checkpoint: Checkpoint, few: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Deviation(-1, -1, float("nan"))
    monkeypatch.setattr(quantizing, "raise_until_it_holds", _leaving(broken))
    with pytest.raises(ParityError, match="not finite numbers; no bundle was written"):
        quantize(checkpoint, tmp_path / "small", few, allow_degraded=True)
    assert list(tmp_path.iterdir()) == []


def _leaving(deviation: Deviation) -> Any:
    """Return what lowers graphs once, and says that they are so far away."""
    real = quantizing.raise_until_it_holds

    def settle(*given: Any, **options: Any) -> Deviation:
        real(*given, **options)
        return deviation

    return settle


class Boxes:
    """Stands in for `BoxJudge`: int8 loses boxes, float16 does not."""

    def __init__(self, *given: Any, **options: Any) -> None:
        del given, options

    def iou(self) -> float:
        return 60.0

    def lowered_iou(self, recipe: Any, scalings: Any) -> float:
        del scalings
        return 60.0 - 1.5 * len(recipe.blocks_of("int8"))


def _harmless(judge: Any, lowerer: Any, rungs: Mapping[str, Any], progress: Any) -> list[Sensitivity]:
    """Stand in for `measure_alone`: no block does anything to the actions."""
    del judge, lowerer, progress
    return [
        Sensitivity(graph, block, rung, Deviation(1, 1, 0))
        for graph, blocks in rungs.items()
        for block, each in blocks.items()
        for rung in each
        if rung != "float32"
    ]


@pytest.mark.parametrize("fixed", [False, True])
def test_blocks_of_the_planner_are_raised_until_boxes_are_as_good_as_before(
    checkpoint: Checkpoint, few: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fixed: bool
) -> None:
    monkeypatch.setattr(quantizing, "BoxJudge", Boxes)
    monkeypatch.setattr(quantizing, "measure_alone", _harmless)
    material = replace(few, samples=tmp_path / "samples.jsonl")
    options: dict[str, Any] = {"start": {"planner": "int8"}, "bounds": Bounds(0.5, 10), "fixed": fixed}
    if fixed:
        with pytest.raises(ParityError, match=r"boxes lose 12\.00 points \(less than 1\)"):
            quantize(checkpoint, tmp_path / "small", material, **options)
        return
    found = quantize(checkpoint, tmp_path / "small", material, **options).quantization
    assert found is not None
    assert found.grounding is not None
    assert found.grounding.passed
    assert (found.grounding.boxes, found.grounding.iou_before, found.grounding.iou_after) == (100, 60, 60)
    assert "int8" not in found.precisions["planner"].values()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"start": {"planner": "int3"}}, "'int3' is not a precision of tensorrt; choose one of int4, int8, half"),
        ({"embodiment": "widowx"}, "'widowx': choose one of franka"),
    ],
)
def test_impossible_wishes_are_refused_before_anything_is_measured(
    checkpoint: Checkpoint, tmp_path: Path, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        quantize(checkpoint, tmp_path / "small", Material(tmp_path / "none"), **options)


def test_a_folder_of_somebody_else_is_refused_before_anything_is_measured(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(UsageError, match="holds something other than a bundle"):
        quantize(checkpoint, tmp_path, Material(tmp_path / "none"))


def test_a_data_set_without_held_out_episodes_is_named(
    checkpoint: Checkpoint, demonstrations: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="elsewhere"):
        quantize(checkpoint, tmp_path / "small", Material(demonstrations, held_out_split="elsewhere"))


def test_the_manifest_is_plain_json(for_cpus: Bundle) -> None:
    found = json.loads(for_cpus.path("bundle.json").read_text())["quantization"]
    assert found["actions"]["min_cosine"] == 0.999
    assert all(isinstance(each["max_relative"], float) for each in found["expected"].values())
