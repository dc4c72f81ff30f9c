"""What a bundle needs of a device's memory, before anything is built: modelled, and labelled so wherever it is shown.

Weights are counted. Activations are the largest sum of tensors that are alive at once when nodes run one after another
and reshapes cost nothing; an engine that fuses them needs less. What a build needs beside the engine is an assumption.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from st4vla.contracts.errors import ManifestError
from st4vla.contracts.tensor_spec import SizeRange
from st4vla.export.targets import GIB, Target

#: The operating system without a desktop, and one CUDA context with the engine library: assumed.
SYSTEM_BYTES = 2 * GIB
#: While a graph is compiled its weights are there as read, as converted, and as part of the finished engine: assumed.
BUILD_COPIES = 3
#: From the mildest to the strongest: bytes of a weight.
WEIGHT_BYTES = {"float16": 2.0, "int8": 1.0, "int4": 0.5}
#: A scale in float16 for so many int4 weights.
INT4_BLOCK = 32
_PRODUCTS = {"MatMul", "Gemm", "Conv", "DequantizeLinear"}
_FREE = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
_SIZE = re.compile(r"^(?P<name>\w+)\s*(?:(?P<sign>[+-])\s*(?P<number>\d+))?$")


@dataclass(frozen=True)
class GraphMemory:
    """One graph, all in bytes.

    Attributes:
        name: Its name.
        product_weights: Weights that are multiplied with, which a smaller precision makes smaller.
        other_weights: All others.
        product_elements: How many of the first there are.
        activations: Most that is alive at once.
    """

    name: str
    product_weights: int
    other_weights: int
    product_elements: int
    activations: int

    @property
    def weights(self) -> int:
        """All weights."""
        return self.product_weights + self.other_weights

    def with_weights(self, precision: str) -> GraphMemory:
        """Return the graph with its products' weights in another precision, if that makes them smaller."""
        scales = self.product_elements * 2 / INT4_BLOCK if precision == "int4" else 0
        size = math.ceil(self.product_elements * WEIGHT_BYTES[precision] + scales)
        return replace(self, product_weights=min(self.product_weights, size))


@dataclass(frozen=True)
class MemoryPlan:
    """All graphs of a bundle on one device.

    Attributes:
        target: The device.
        graphs: What each needs.
    """

    target: Target
    graphs: tuple[GraphMemory, ...]

    @property
    def running(self) -> int:
        """Bytes while it serves: both systems are resident."""
        return SYSTEM_BYTES + sum(graph.weights + graph.activations for graph in self.graphs)

    @property
    def building(self) -> int:
        """Bytes while the largest graph is compiled; one is compiled at a time."""
        return SYSTEM_BYTES + max(BUILD_COPIES * graph.weights + graph.activations for graph in self.graphs)

    @property
    def left(self) -> int:
        """Bytes that are left at the worst moment; negative where it does not fit."""
        return self.target.memory_bytes - max(self.running, self.building)

    def smallest_change(self) -> tuple[str, MemoryPlan] | None:
        """Return the mildest change of weights that makes it fit, and the plan with it; None where none does.

        The planner's weights first, which are the most by far, then those of all graphs.
        """
        for names in (("planner",), tuple(graph.name for graph in self.graphs)):
            for precision in WEIGHT_BYTES:
                graphs = (graph.with_weights(precision) if graph.name in names else graph for graph in self.graphs)
                plan = replace(self, graphs=tuple(graphs))
                if plan.left >= 0:
                    return f"{precision} weights in the {', '.join(names)}", plan
        return None


def graph_memory(name: str, model: ModelProto, sizes: Mapping[str, SizeRange]) -> GraphMemory:
    """Count a graph's memory at the largest sizes.

    Args:
        name: Its name.
        model: The graph, with the shapes that the exporter left; its weights need not be loaded.
        sizes: What its dynamic dimensions may be.

    Raises:
        ManifestError: A tensor's size is not known.
    """
    graph = _at_largest(model, sizes)
    multiplied = {name for node in graph.node if node.op_type in _PRODUCTS for name in node.input}
    product_weights = other_weights = product_elements = 0
    for tensor in graph.initializer:
        elements = math.prod(tensor.dims)
        size = math.ceil(elements * element_bytes(tensor.data_type))
        if tensor.name in multiplied and len(tensor.dims) > 1:
            product_weights, product_elements = product_weights + size, product_elements + elements
        else:
            other_weights += size
    return GraphMemory(name, product_weights, other_weights, product_elements, _activations(graph))


def element_bytes(kind: int) -> float:
    """Return the bytes of an element of an ONNX type."""
    if kind in {TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1}:
        return 0.5
    if kind in {TensorProto.FLOAT, TensorProto.INT32}:
        return 4
    if kind in {TensorProto.DOUBLE, TensorProto.INT64}:
        return 8
    return 2 if kind in {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT16} else 1


def _activations(graph: GraphProto) -> int:
    values = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    constants = {tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    last_use = {name: index for index, node in enumerate(graph.node) for name in node.input}
    alive = {value.name: _bytes(value) for value in graph.input}
    #: Whose memory a reshaped tensor is.
    owner: dict[str, str] = {}
    most = sum(alive.values())
    for index, node in enumerate(graph.node):
        if node.op_type in _FREE and node.input[0] not in constants:
            owner[node.output[0]] = root = owner.get(node.input[0], node.input[0])
            last_use[root] = max(last_use.get(root, index), last_use.get(node.output[0], index))
        else:
            for name in filter(None, node.output):
                if name not in values:
                    raise ManifestError(f"the graph does not say what shape {name!r} has; export the bundle again")
                alive[name] = _bytes(values[name])
        most = max(most, sum(alive.values()))
        for name in [name for name in alive if last_use.get(name, index) <= index and name not in outputs]:
            del alive[name]
    return most


def _at_largest(model: ModelProto, sizes: Mapping[str, SizeRange]) -> GraphProto:
    """Return the graph with every dimension a number: dynamic ones at their largest, and what follows from them."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    unknown = []
    for value in (*fixed.graph.input, *fixed.graph.output, *fixed.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_value = _size(dimension.dim_param, sizes)
            elif not dimension.HasField("dim_value"):
                unknown.append(value.name)
    kept = [value for value in fixed.graph.value_info if value.name not in unknown]
    del fixed.graph.value_info[:]
    fixed.graph.value_info.extend(kept)
    return onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph


def _bytes(value: ValueInfoProto) -> int:
    tensor = value.type.tensor_type
    if not all(each.HasField("dim_value") for each in tensor.shape.dim):
        raise ManifestError(f"the graph does not say what shape {value.name!r} has; export the bundle again")
    elements: int = math.prod(each.dim_value for each in tensor.shape.dim)
    return math.ceil(elements * element_bytes(tensor.elem_type))


def _size(expression: str, sizes: Mapping[str, SizeRange]) -> int:
    found = _SIZE.match(expression)
    if found is None or found["name"] not in sizes:
        raise ManifestError(f"the graph has a dimension {expression!r}, but the bundle gives sizes for {sorted(sizes)}")
    offset = int(found["number"] or 0) * (-1 if found["sign"] == "-" else 1)
    return sizes[found["name"]].largest + offset


def plan_rows(plan: MemoryPlan) -> Sequence[Sequence[object]]:
    """Return what to show, in MiB."""
    mib = 2**20
    rows: list[tuple[str, float]] = []
    for graph in plan.graphs:
        rows += [
            (f"{graph.name}: weights", graph.weights / mib),
            (f"{graph.name}: activations", graph.activations / mib),
        ]
    rows += [
        ("system and CUDA (assumed)", SYSTEM_BYTES / mib),
        ("while it serves", plan.running / mib),
        (f"while it is compiled ({BUILD_COPIES} copies of weights, assumed)", plan.building / mib),
        (f"left of {plan.target.memory_bytes / mib:.0f}", plan.left / mib),
    ]
    return rows
