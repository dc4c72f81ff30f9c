"""Tests of the memory plan on graphs whose memory can be told by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from st4vla.contracts.errors import ManifestError
from st4vla.contracts.tensor_spec import SizeRange
from st4vla.export.graph_memory import EXPORTED, PRECISIONS, GraphMemory, Need, graph_memory
from st4vla.export.memory_plan import BUILD_COPIES, SYSTEM_BYTES, MemoryPlan, overview_rows
from st4vla.export.quantization.weights import INT4_BLOCK
from st4vla.export.targets import GIB, TARGETS

SIZES = {"L": SizeRange(1, 10, 100)}
NANO = TARGETS["orin-nano-8"]


def graph_of(nodes: list[object], weights: dict[str, np.ndarray], values: dict[str, tuple[object, ...]]) -> ModelProto:
    """Return a model whose first value is its input and whose second is its output."""
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:2], tensors, value_info=infos[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def chain() -> ModelProto:
    """Return x [L, 8] -> two products -> a reshape -> a sum with the first product."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["c"]),
        helper.make_node("Add", ["c", "bias"], ["y"]),
    ]
    weights = {
        "w1": np.zeros((8, 16), np.float32),
        "w2": np.zeros((16, 4), np.float32),
        "shape": np.array([-1, 2], np.int64),
        "bias": np.zeros(2, np.float32),
    }
    return graph_of(nodes, weights, {"x": ("L", 8), "y": (None, 2), "a": ("L", 16)})


def needing(name: str, **weights: int) -> GraphMemory:
    return GraphMemory(name, {precision: Need(size, 10) for precision, size in weights.items()})


def test_weights_and_the_most_that_is_alive_are_counted_at_the_largest_size() -> None:
    memory = graph_memory("g", chain(), SIZES)
    assert memory.weights == 4 * (8 * 16 + 16 * 4) + 8 * 2 + 4 * 2
    # x and a while the first product runs; the reshape is free.
    assert memory.activations == 100 * (8 + 16) * 4


def test_float16_halves_weights_and_activations_but_no_whole_numbers() -> None:
    memory = graph_memory("g", chain(), SIZES).in_precision("float16")
    assert memory.weights == 2 * (8 * 16 + 16 * 4) + 8 * 2 + 2 * 2
    assert memory.activations == 100 * (8 + 16) * 2


def test_int8_has_a_scale_for_each_output_and_float16_around_it() -> None:
    memory = graph_memory("g", chain(), SIZES).in_precision("int8")
    assert memory.weights == (8 * 16 + 2 * 16) + (16 * 4 + 2 * 4) + 8 * 2 + 2 * 2
    assert memory.activations == 100 * (8 + 16) * 2


def test_int4_is_for_products_that_divide_into_blocks_and_tables_stay_float16() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["a"]),
        helper.make_node("MatMul", ["a", "fits"], ["b"]),
        helper.make_node("MatMul", ["b", "not"], ["y"]),
    ]
    rows = 2 * INT4_BLOCK
    weights = {
        "table": np.zeros((10, rows), np.float32),
        "fits": np.zeros((rows, 30), np.float32),
        "not": np.zeros((30, 5), np.float32),
    }
    model = graph_of(nodes, weights, {"x": ("L",), "y": ("L", 5), "a": ("L", rows), "b": ("L", 30)})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    memory = graph_memory("g", model, SIZES).in_precision("int4")
    assert memory.weights == 2 * 10 * rows + (rows * 30 // 2 + 2 * 2 * 30) + 2 * 30 * 5


def test_a_dimension_that_the_bundle_gives_no_sizes_for_is_an_error() -> None:
    with pytest.raises(ManifestError, match="a dimension 'L', but the bundle gives sizes for \\['M'\\]"):
        graph_memory("g", chain(), {"M": SizeRange(1, 2, 3)})


def test_the_worst_moment_counts() -> None:
    plan = MemoryPlan(NANO, (needing("planner", exported=2 * GIB), needing("bridge", exported=3 * GIB)))
    assert plan.running == SYSTEM_BYTES + 5 * GIB + 20
    assert plan.building == SYSTEM_BYTES + math.ceil(BUILD_COPIES * 3 * GIB) + 10
    assert plan.left == 8 * GIB - plan.building
    assert plan.left < 0


def test_the_mildest_change_that_fits_is_named() -> None:
    sizes = {"exported": 12 * 10**9, "float16": 6 * 10**9, "int8": 3 * 10**9, "int4": 16 * 10**8}
    large, free = needing("planner", **sizes), sizes["int8"] * BUILD_COPIES + 10
    device = replace(NANO, memory_bytes=int(SYSTEM_BYTES + free))
    words, plan = _change(MemoryPlan(device, (large,)))
    assert words == "int8 in the planner"
    assert plan.left == 0
    words, _ = _change(MemoryPlan(replace(device, memory_bytes=device.memory_bytes - 1), (large,)))
    assert words == "int4 in the planner"
    words, _ = _change(MemoryPlan(device, (large, replace(large, name="bridge"))))
    assert words == "int8 in the planner, bridge"
    assert MemoryPlan(replace(NANO, memory_bytes=GIB), (large,)).smallest_change() is None


def test_no_precision_makes_a_weight_larger() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = graph_of(nodes, {"w": np.zeros((1, 6), np.float16)}, {"x": ("L", 1), "y": ("L", 6)})
    memory = graph_memory("g", model, SIZES)
    assert {memory.in_precision(each).weights for each in (EXPORTED, *PRECISIONS)} == {12}


def test_the_overview_says_what_is_left_and_what_is_missing_on_each_device() -> None:
    graph = needing("planner", exported=4 * GIB, float16=2 * GIB, int8=GIB, int4=GIB // 2)
    rows = overview_rows([MemoryPlan(NANO, (graph,))])
    serving = (NANO.title, "serving", 2047, 4095, 5119, 5631)
    assert rows[0] == serving
    compiling = [int((6 - BUILD_COPIES * size) * 1024 - 1e-5) for size in (2, 1, 0.5)]
    assert rows[1][1] == "compiling"
    assert [row for row in rows[1][3:] if isinstance(row, int)] == pytest.approx(compiling, abs=1)
    assert rows[1][2] < 0


def _change(plan: MemoryPlan) -> tuple[str, MemoryPlan]:
    change = plan.smallest_change()
    assert change is not None
    return change
