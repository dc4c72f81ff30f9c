"""What is returned belongs to the caller, whatever is bound; and what is compiled needs nothing of the bundle."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper, numpy_helper

from st4vla.contracts.errors import EngineError
from st4vla.contracts.manifests import CpuSettings
from st4vla.contracts.tensor_spec import GraphTensors, SizeRange, TensorSpec
from st4vla.runtime.engines import onnx_runtime_engine
from st4vla.runtime.engines.engine import Array, Engine
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.engines.onnx_runtime_engine import OnnxRuntimeEngine

BACKEND = OnnxRuntimeBackend()
CHUNK, NEXT = (TensorSpec(name, "float32", (1, "T")) for name in ("chunk", "next_chunk"))
BIAS, SCALE = TensorSpec("bias", "float32", (1, "T")), TensorSpec("scale", "float32", (1,))
TOTAL = TensorSpec("total", "float32", (1, 1))
STEP = GraphTensors("step", (CHUNK, BIAS, SCALE), (NEXT, TOTAL), {"T": SizeRange(1, 4, 9)})
NODES = [
    helper.make_node("Mul", ["chunk", "scale"], ["scaled"]),
    helper.make_node("Add", ["scaled", "bias"], ["next_chunk"]),
    helper.make_node("ReduceSum", ["chunk"], ["total"], keepdims=1),
]


def saved(path: Path, tensors: GraphTensors, nodes: list[NodeProto], weights: dict[str, Array] | None = None) -> Path:
    """Write a graph, with its weights beside it but for those below 1 KiB."""
    types = {spec.name: helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)) for spec in tensors.inputs}
    types |= {spec.name: helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)) for spec in tensors.outputs}
    sides = [
        [helper.make_tensor_value_info(spec.name, types[spec.name], spec.shape) for spec in specs]
        for specs in (tensors.inputs, tensors.outputs)
    ]
    initial = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, tensors.name, *sides, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path, save_as_external_data=bool(weights), location=f"{path.name}.data")
    return path


@pytest.fixture
def engine(tmp_path: Path) -> OnnxRuntimeEngine:
    return BACKEND.load(saved(tmp_path / "step.onnx", STEP, NODES), STEP)


def feeds(length: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.random((1, length), np.float32) for name in ("chunk", "bias")} | {"scale": np.float32([2])}


def expected(given: dict[str, Array]) -> dict[str, Array]:
    chunk = given["chunk"]
    return {"next_chunk": chunk * given["scale"] + given["bias"], "total": chunk.sum(keepdims=True)}


def assert_close(actual: dict[str, Array], wanted: dict[str, Array]) -> None:
    assert set(actual) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-6)


@pytest.mark.parametrize("copied_bytes", [0, 8, 1 << 18])
def test_an_answer_outlives_later_runs_of_any_length(
    engine: OnnxRuntimeEngine, monkeypatch: pytest.MonkeyPatch, copied_bytes: int
) -> None:
    monkeypatch.setattr(onnx_runtime_engine, "COPIED_BYTES", copied_bytes)
    given = [feeds(length, seed) for seed, length in enumerate((4, 4, 4, 9, 1, 4, 4))]
    answers = [engine.run(each) for each in given]
    for each, answer in zip(given, answers, strict=True):
        assert_close(answer, expected(each))
    arrays = [array for answer in answers for array in answer.values()]
    arrays += [array for each in given for array in each.values()]
    for index, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[:index])


@pytest.mark.parametrize("copied_bytes", [0, 1 << 18])
def test_what_the_caller_writes_into_an_answer_does_not_come_back(
    engine: OnnxRuntimeEngine, monkeypatch: pytest.MonkeyPatch, copied_bytes: int
) -> None:
    monkeypatch.setattr(onnx_runtime_engine, "COPIED_BYTES", copied_bytes)
    given = feeds(4)
    engine.run(given)["next_chunk"][...] = np.nan
    assert_close(engine.run(given), expected(given))


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_steps_that_are_bound_do_what_one_run_after_the_other_does(engine: OnnxRuntimeEngine, count: int) -> None:
    steps = [{"scale": np.float32([0.5 + step])} for step in range(count)]
    for length in (4, 4, 7, 4):
        first = feeds(length, seed=length)
        given = {name: first[name] for name in ("chunk", "bias")}
        before = {name: array.copy() for name, array in given.items()}
        answer = engine.iterate(given, steps, {"next_chunk": "chunk"})
        wanted = Engine._iterate(engine, given, steps, {"next_chunk": "chunk"})
        for name, value in wanted.items():
            np.testing.assert_array_equal(answer[name], value)
            assert not np.shares_memory(answer[name], engine.iterate(given, steps, {"next_chunk": "chunk"})[name])
        for name, array in before.items():
            np.testing.assert_array_equal(given[name], array)


def test_a_chunk_outlives_the_next_one(engine: OnnxRuntimeEngine) -> None:
    steps = [{"scale": np.float32([scale])} for scale in (1, 2, 3)]
    given = [{name: feeds(4, seed)[name] for name in ("chunk", "bias")} for seed in range(4)]
    chunks = [engine.iterate(each, steps, {"next_chunk": "chunk"}) for each in given]
    kept = [chunk["next_chunk"].copy() for chunk in chunks]
    engine.run(feeds(4, 9))
    engine.iterate(given[0], steps[::-1], {"next_chunk": "chunk"})
    engine.iterate(given[0], steps[:2], {})
    for chunk, copy in zip(chunks, kept, strict=True):
        np.testing.assert_array_equal(chunk["next_chunk"], copy)
    assert len({copy.tobytes() for copy in kept}) == len(kept)


def test_steps_without_anything_carried_begin_alike(engine: OnnxRuntimeEngine) -> None:
    given = feeds(4)
    steps = [{"scale": np.float32([scale])} for scale in (1, 2, 3)]
    answer = engine.iterate({name: given[name] for name in ("chunk", "bias")}, steps, {})
    assert_close(answer, expected(given | {"scale": np.float32([3])}))


def test_arrays_may_lie_anyhow(engine: OnnxRuntimeEngine) -> None:
    given = feeds(4)
    apart = {name: np.repeat(array, 2, axis=-1)[..., ::2] for name, array in given.items()}
    assert not apart["chunk"].flags.c_contiguous
    for array in apart.values():
        array.setflags(write=False)
    assert_close(engine.run(apart), expected(given))


@pytest.mark.parametrize("copied_bytes", [0, 1 << 18])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int64", "uint8", "bool"])
def test_every_dtype_can_be_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, copied_bytes: int
) -> None:
    monkeypatch.setattr(onnx_runtime_engine, "COPIED_BYTES", copied_bytes)
    tensors = GraphTensors("same", (TensorSpec("x", dtype, (3,)),), (TensorSpec("y", dtype, (3,)),), {})
    path = saved(tmp_path / "same.onnx", tensors, [helper.make_node("Identity", ["x"], ["y"])])
    with BACKEND.load(path, tensors) as engine:
        given = np.array([0, 1, 1], dtype)
        answer = engine.run({"x": given})["y"]
        np.testing.assert_array_equal(answer, given)
        assert answer.dtype == given.dtype
        chained = engine.iterate({"x": given}, [{}, {}], {"y": "x"})["y"]
        np.testing.assert_array_equal(chained, given)


def test_an_output_of_another_shape_than_promised_is_an_error(tmp_path: Path) -> None:
    given, said = TensorSpec("x", "float32", (1, "T")), TensorSpec("y", "float32", (1, 3))
    tensors = GraphTensors("wrong", (given,), (said,), {"T": SizeRange(1, 3, 9)})
    true = GraphTensors("wrong", (given,), (TensorSpec("y", "float32", (1, "T")),), tensors.sizes)
    path = saved(tmp_path / "wrong.onnx", true, [helper.make_node("Neg", ["x"], ["y"])])
    with BACKEND.load(path, tensors) as engine:
        np.testing.assert_array_equal(engine.run({"x": np.ones((1, 3), np.float32)})["y"], -np.ones((1, 3)))
        with pytest.raises(EngineError, match=r"(?i)engine 'wrong' failed: .*output.* shape"):
            engine.run({"x": np.ones((1, 4), np.float32)})


def test_an_output_whose_size_no_input_tells_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "step.onnx", STEP, NODES)
    loose = GraphTensors("step", STEP.inputs, (NEXT, TensorSpec("total", "float32", (1, "N"))), STEP.sizes)
    with pytest.raises(EngineError, match=r"output total: float32\[1, N\]: no input has the dimension N"):
        BACKEND.load(path, loose)


def test_a_closed_engine_says_that_it_failed(engine: OnnxRuntimeEngine) -> None:
    engine.close()
    with pytest.raises(EngineError, match="engine 'step' failed"):
        engine.run(feeds(4))


def test_a_compiled_graph_needs_neither_the_bundle_nor_its_place(tmp_path: Path) -> None:
    wide = TensorSpec("x", "float32", (1, 64)), TensorSpec("y", "float32", (1, 64))
    tensors = GraphTensors("wide", wide[:1], wide[1:], {})
    weights = {
        "matrix": np.random.default_rng(0).random((64, 64), np.float32),
        "bias": np.full(64, 2, np.float32),
    }
    nodes = [helper.make_node("MatMul", ["x", "matrix"], ["z"]), helper.make_node("Add", ["z", "bias"], ["y"])]
    bundle, work, later = (tmp_path / name for name in ("bundle", "work", "later"))
    bundle.mkdir()
    work.mkdir()
    graph = saved(bundle / "wide.onnx", tensors, nodes, weights)
    assert (bundle / "wide.onnx.data").is_file()
    BACKEND.compile(graph, work / "wide.engine", tensors, cache=tmp_path)
    assert sorted(path.name for path in work.iterdir()) == ["wide.engine", "wide.engine.data"]
    compiled = onnx.load(work / "wide.engine", load_external_data=False)
    places = {
        entry.value for value in compiled.graph.initializer for entry in value.external_data if entry.key == "location"
    }
    assert places == {"wide.engine.data"}
    shutil.rmtree(bundle)
    work.rename(later)
    given = np.ones((1, 64), np.float32)
    for cpu in (None, CpuSettings(2), CpuSettings(2, spinning=True)):
        with BACKEND.load(later / "wide.engine", tensors, cpu=cpu) as engine:
            answer = engine.run({"x": given})["y"]
        np.testing.assert_allclose(answer, given @ weights["matrix"] + weights["bias"], rtol=1e-5)
