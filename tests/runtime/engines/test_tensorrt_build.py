"""Tests that what we ask of TensorRT exists in every version we name, and that TensorRT-RTX compiles our graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorrt_rtx
from onnx import TensorProto, helper, save

from st4vla.contracts.errors import EngineError
from st4vla.contracts.manifests import GRAPH_NAMES, Bundle
from st4vla.contracts.tensor_spec import GraphTensors, SizeRange, TensorSpec
from st4vla.runtime.engines.fake_gpu import FakeEngine, FakeGpu
from st4vla.runtime.engines.tensorrt_backend import load_engine
from st4vla.runtime.engines.tensorrt_build import build_engine

TINY = Path(__file__).parents[3] / "bundles" / "tiny"
#: Orin's own (SM87) cannot be built for without one; this is the nearest that can.
NEAREST = "SM86"


def test_everything_that_a_build_asks_for_exists_in_every_version(
    make_surface: Any, version: str, tmp_path: Path
) -> None:
    library = make_surface(version)
    bundle = Bundle(TINY)
    cache = tmp_path / "cache" / "timing"
    seen: list[str] = []
    plan = build_engine(
        library,
        bundle.path("planner.onnx"),
        bundle.tensors("planner"),
        timing_cache=cache,
        progress=lambda phase, done, total: seen.append(phase),
    )
    assert plan == b"plan"
    assert cache.read_bytes() == b"plan"
    assert {"OnnxParser.parse_from_file", "IOptimizationProfile.set_shape", "IBuilderConfig.set_timing_cache"} <= (
        library.used
    )


def test_a_refused_graph_is_told_in_the_words_of_every_version(make_surface: Any, version: str) -> None:
    bundle = Bundle(TINY)
    refusing = make_surface(
        version, OnnxParser_parse_from_file=False, OnnxParser_num_errors=1, ParserError_desc="no such op"
    )
    with pytest.raises(EngineError, match=rf"{version} cannot parse .*planner\.onnx: .*no such op"):
        build_engine(refusing, bundle.path("planner.onnx"), bundle.tensors("planner"))
    failing = make_surface(version, Builder_build_serialized_network=None)
    with pytest.raises(EngineError, match=r"cannot build .*planner\.onnx: it did not say why"):
        build_engine(failing, bundle.path("planner.onnx"), bundle.tensors("planner"))


def test_everything_that_a_run_asks_for_exists_in_every_version(
    make_surface: Any, version: str, tmp_path: Path
) -> None:
    gpu = FakeGpu()
    members = make_surface(version).members

    class Engine(FakeEngine):
        def create_execution_context(self) -> Any:
            made = super().create_execution_context()
            asked = {name for name in dir(made) if not name.startswith("_")}
            assert asked <= set(members("IExecutionContext"))
            return made

    made = Engine(gpu, {"a": "float32", "b": "float32"}, 1, lambda feeds: {"b": feeds["a"]})
    library = make_surface(version, Runtime_deserialize_cuda_engine=made)
    assert {"get_tensor_name", "num_io_tensors", "create_execution_context"} <= set(members("ICudaEngine"))
    (tmp_path / "plan").write_bytes(b"plan")
    tensors = GraphTensors("copy", *((TensorSpec(name, "float32", (2,)),) for name in "ab"), sizes={})
    with load_engine(library, gpu, tmp_path / "plan", tensors, urgent=True) as engine:
        answer = engine.run({"a": np.array([1, 2], np.float32)})
    np.testing.assert_array_equal(answer["b"], [1, 2])


def test_a_surface_refuses_what_a_version_lacks(make_surface: Any) -> None:
    config = make_surface("11.4").Builder(None).create_builder_config()
    with pytest.raises(AttributeError, match="no int8_calibrator"):
        config.int8_calibrator = None
    with pytest.raises(TypeError, match="missing \\['ignore_mismatch'\\]"):
        config.set_timing_cache(None)


@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_the_tiny_bundle_compiles_for_the_gpu_nearest_to_orin(graph: str) -> None:
    bundle = Bundle(TINY)
    seen: list[tuple[str, int, int]] = []
    plan = build_engine(
        tensorrt_rtx,
        bundle.path(f"{graph}.onnx"),
        bundle.tensors(graph),
        compute_capability=NEAREST,
        progress=lambda *step: seen.append(step),
    )
    assert plan.nbytes > 100_000
    assert len(seen) > 10


def test_a_build_that_is_interrupted_ends_soon_and_as_an_interruption() -> None:
    bundle = Bundle(TINY)
    seen: list[str] = []

    def interrupt(phase: str, done: int, total: int) -> None:
        del done, total
        seen.append(phase)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(
            tensorrt_rtx,
            bundle.path("sampler.onnx"),
            bundle.tensors("sampler"),
            compute_capability=NEAREST,
            progress=interrupt,
        )
    assert len(seen) == 3


def test_a_graph_of_mixed_types_is_refused_with_what_the_compiler_says(tmp_path: Path) -> None:
    values = [
        helper.make_tensor_value_info(name, kind, (2, 2))
        for name, kind in (("a", TensorProto.FLOAT), ("b", TensorProto.FLOAT16), ("c", TensorProto.FLOAT))
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"], name="product")], "g", values[:2], values[2:]
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "mixed.onnx")
    tensors = GraphTensors("g", (), (), {})
    with pytest.raises(EngineError, match=r"cannot (parse|build) .*mixed\.onnx: .*product"):
        build_engine(tensorrt_rtx, tmp_path / "mixed.onnx", tensors, compute_capability=NEAREST)


def test_a_gpu_that_the_compiler_does_not_know_is_refused_with_those_it_does() -> None:
    bundle = Bundle(TINY)
    with pytest.raises(EngineError, match=r"cannot build for SM87; it can for .*SM86"):
        build_engine(tensorrt_rtx, bundle.path("sampler.onnx"), bundle.tensors("sampler"), compute_capability="SM87")


def test_sizes_must_ascend() -> None:
    with pytest.raises(ValueError, match="must ascend from 1"):
        SizeRange(4, 3, 9)
