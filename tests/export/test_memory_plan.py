"""Tests of the memory plan on graphs whose memory can be told by hand."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from st4vla.contracts.errors import ManifestError
from st4vla.contracts.tensor_spec import SizeRange
from st4vla.export.memory_plan import (
    BUILD_COPIES,
    SYSTEM_BYTES,
    GraphMemory,
    MemoryPlan,
    graph_memory,
)
from st4vla.export.targets import GIB, TARGETS

SIZES = {"L": SizeRange(1, 10, 100)}
NANO = TARGETS["orin-nano-8"]


def chain() -> ModelProto:
    """Return x [L, 8] -> two products -> a reshape -> a sum with the first product."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["c"]),
        helper.make_node("Add", ["c", "bias"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.zeros((8, 16), np.float32), "w1"),
        numpy_helper.from_array(np.zeros((16, 4), np.float32), "w2"),
        numpy_helper.from_array(np.array([-1, 2], np.int64), "shape"),
        numpy_helper.from_array(np.zeros(2, np.float32), "bias"),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ("L", 8)), ("y", (None, 2)), ("a", ("L", 16)))
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:2], weights, value_info=values[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_weights_and_the_most_that_is_alive_are_counted_at_the_largest_size() -> None:
    memory = graph_memory("g", chain(), SIZES)
    assert memory.product_weights == 4 * (8 * 16 + 16 * 4)
    assert memory.product_elements == 8 * 16 + 16 * 4
    assert memory.other_weights == 8 * 2 + 4 * 2
    # x and a while the first product runs; the reshape is free.
    assert memory.activations == 100 * (8 + 16) * 4


def test_a_dimension_that_the_bundle_gives_no_sizes_for_is_an_error() -> None:
    with pytest.raises(ManifestError, match="a dimension 'L', but the bundle gives sizes for \\['M'\\]"):
        graph_memory("g", chain(), {"M": SizeRange(1, 2, 3)})


def test_the_worst_moment_counts() -> None:
    graphs = (GraphMemory("planner", GIB, 0, GIB // 2, 10), GraphMemory("bridge", 2 * GIB, 0, GIB, 20))
    plan = MemoryPlan(NANO, graphs)
    assert plan.running == SYSTEM_BYTES + 3 * GIB + 30
    assert plan.building == SYSTEM_BYTES + BUILD_COPIES * 2 * GIB + 20
    assert plan.left == 8 * GIB - plan.building
    assert plan.left < 0


def test_the_mildest_change_that_fits_is_named() -> None:
    elements = 3 * 10**9
    half = GraphMemory("planner", 2 * elements, 0, elements, 0)
    words, plan = _change(MemoryPlan(TARGETS["orin-nx-16"], (half,)))
    assert words == "int8 weights in the planner"
    assert plan.left == 16 * GIB - SYSTEM_BYTES - BUILD_COPIES * elements
    words, _ = _change(MemoryPlan(NANO, (half,)))
    assert words == "int4 weights in the planner"
    other = replace(half, name="bridge")
    words, _ = _change(MemoryPlan(NANO, (half, other)))
    assert words == "int4 weights in the planner, bridge"
    assert MemoryPlan(replace(NANO, memory_bytes=GIB), (half,)).smallest_change() is None


def test_int4_counts_its_scales_and_never_makes_anything_larger() -> None:
    small = GraphMemory("planner", 100, 7, 320, 0)
    assert small.with_weights("int4").product_weights == 100
    large = GraphMemory("planner", 1280, 7, 320, 0)
    assert large.with_weights("int4").weights == 160 + 20 + 7


def _change(plan: MemoryPlan) -> tuple[str, MemoryPlan]:
    change = plan.smallest_change()
    assert change is not None
    return change
