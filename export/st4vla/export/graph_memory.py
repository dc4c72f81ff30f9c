"""What one graph needs of a device's memory, counted from its ONNX file: as it is, and in smaller precisions.

Weights are counted. Activations are the largest sum of tensors that are alive at once when nodes run one after another
and reshapes cost nothing; an engine that fuses them needs less.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from st4vla.contracts.errors import ManifestError
from st4vla.contracts.tensor_spec import SizeRange
from st4vla.export.quantization.weights import INT4_BLOCK, fits_int4

#: A graph as it was exported.
EXPORTED = "exported"
#: What a graph can be made smaller with, from the mildest to the strongest. Around whole numbers all is float16.
PRECISIONS = ("float16", "int8", "int4")
_HALF = 2
_FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
_FREE = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
_SIZE = re.compile(r"^(?P<name>\w+)\s*(?:(?P<sign>[+-])\s*(?P<number>\d+))?$")


@dataclass(frozen=True)
class Need:
    """Bytes of all weights, and of the most that is alive at once beside them."""

    weights: int
    activations: int


@dataclass(frozen=True)
class GraphMemory:
    """One graph.

    Attributes:
        name: Its name.
        needs: What it needs, by precision: `EXPORTED` and `PRECISIONS`.
        precision: The one that it has.
    """

    name: str
    needs: Mapping[str, Need]
    precision: str = EXPORTED

    @property
    def weights(self) -> int:
        """Bytes of all weights."""
        return self.needs[self.precision].weights

    @property
    def activations(self) -> int:
        """Bytes of the most that is alive at once."""
        return self.needs[self.precision].activations

    def in_precision(self, precision: str) -> GraphMemory:
        """Return the graph in another precision."""
        return replace(self, precision=precision)


def graph_memory(name: str, model: ModelProto, sizes: Mapping[str, SizeRange]) -> GraphMemory:
    """Count a graph's memory at the largest sizes, as it is and in each smaller precision.

    Args:
        name: Its name.
        model: The graph, with the shapes that the exporter left; its weights need not be loaded.
        sizes: What its dynamic dimensions may be.

    Raises:
        ManifestError: A tensor's size is not known.
    """
    graph = _at_largest(model, sizes)
    rows = _product_rows(graph)
    needs = {
        precision: Need(
            sum(_weight_bytes(tensor, rows.get(tensor.name), precision) for tensor in graph.initializer),
            _activations(graph, precision),
        )
        for precision in (EXPORTED, *PRECISIONS)
    }
    return GraphMemory(name, needs)


def _product_rows(graph: GraphProto) -> dict[str, int]:
    """Return the weights of products, and of each how many of its numbers make one output."""
    matrices = {tensor.name: tensor.dims for tensor in graph.initializer if len(tensor.dims) > 1}
    # Whole numbers of a product are multiplied with behind a DequantizeLinear.
    places = {"MatMul": 1, "DequantizeLinear": 0}
    names = [node.input[places[node.op_type]] for node in graph.node if node.op_type in places]
    return {name: matrices[name][-2] for name in names if name in matrices}


def _weight_bytes(tensor: TensorProto, rows: int | None, precision: str) -> int:
    """Return the bytes of a weight with its scales, which are float16; without blocks for int4 it is float16 itself.

    Args:
        tensor: The weight.
        rows: As in `_product_rows`; None where nothing is multiplied with it.
        precision: Which it gets, if that makes it smaller.
    """
    elements: int = math.prod(tensor.dims)
    exported = math.ceil(elements * element_bytes(tensor.data_type))
    if precision == EXPORTED or (rows is None and tensor.data_type not in _FLOATS):
        return exported
    size: float = elements * _HALF
    if precision == "int8" and rows is not None:
        size = elements + elements / rows * _HALF
    elif precision == "int4" and rows is not None and fits_int4(rows):
        size = elements / 2 + elements / INT4_BLOCK * _HALF
    return min(exported, math.ceil(size))


def element_bytes(kind: int) -> float:
    """Return the bytes of an element of an ONNX type."""
    if kind in {TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1}:
        return 0.5
    if kind in {TensorProto.FLOAT, TensorProto.INT32}:
        return 4
    if kind in {TensorProto.DOUBLE, TensorProto.INT64}:
        return 8
    return 2 if kind in {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT16} else 1


def _activations(graph: GraphProto, precision: str) -> int:
    values = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    constants = {tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    last_use = {name: index for index, node in enumerate(graph.node) for name in node.input}
    alive = {value.name: _bytes(value, precision) for value in graph.input}
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
                alive[name] = _bytes(values[name], precision)
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


def _bytes(value: ValueInfoProto, precision: str) -> int:
    tensor = value.type.tensor_type
    if not all(each.HasField("dim_value") for each in tensor.shape.dim):
        raise ManifestError(f"the graph does not say what shape {value.name!r} has; export the bundle again")
    elements: int = math.prod(each.dim_value for each in tensor.shape.dim)
    size = element_bytes(tensor.elem_type)
    if precision != EXPORTED and tensor.elem_type in _FLOATS:
        size = min(size, _HALF)
    return math.ceil(elements * size)


def _size(expression: str, sizes: Mapping[str, SizeRange]) -> int:
    found = _SIZE.match(expression)
    if found is None or found["name"] not in sizes:
        raise ManifestError(f"the graph has a dimension {expression!r}, but the bundle gives sizes for {sorted(sizes)}")
    offset = int(found["number"] or 0) * (-1 if found["sign"] == "-" else 1)
    return sizes[found["name"]].largest + offset
