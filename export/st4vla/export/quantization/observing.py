"""Run a float32 graph on real inputs, and keep what its products multiply and how large its numbers get."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from st4vla.export.onnx_export import save_graph
from st4vla.export.quantization.blocks import find_products
from st4vla.export.quantization.emulation import GraphSession
from st4vla.export.quantization.scaling import Observed
from st4vla.runtime.engines.engine import Array

#: Rows of a product's activations that one run leaves, about.
_ROWS = 24
_MAX_RUNS_KEPT = 32


@dataclass(frozen=True)
class Observations:
    """What was seen in one graph.

    Attributes:
        activations: Module of a product to what it multiplied.
        largest: Name of a float tensor to its largest absolute value.
    """

    activations: Mapping[str, Observed]
    largest: Mapping[str, float]

    def joined(self, activations: Mapping[str, Observed]) -> Observations:
        """Return the same with what was seen elsewhere of some products."""
        joined = {
            module: seen.joined(activations[module]) if module in activations else seen
            for module, seen in self.activations.items()
        }
        return Observations(joined, self.largest)


def observe(source: Path, runs: Iterable[Mapping[str, Array]], work: Path) -> Observations:
    """Observe a graph.

    Args:
        source: A float32 graph of `export_graphs`.
        runs: Its inputs, one mapping a run.
        work: Folder for a graph that also returns what is observed; it is removed again by whoever made the folder.
    """
    model = ir.load(source)
    graph = model.graph
    products = find_products(graph)
    modules: dict[ir.Value, list[str]] = {}
    for product in products:
        modules.setdefault(product.activation, []).append(product.module)
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    tensors = [value for value in values if value.dtype is ir.DataType.FLOAT]
    graph.outputs.clear()
    rows = {value: _returns_rows(graph, value, index) for index, value in enumerate(modules)}
    peaks = {value: _returns_peak(graph, value, index) for index, value in enumerate(tensors)}
    path = work / "observed.onnx"
    save_graph(model, path)
    kept: dict[ir.Value, list[Array]] = {value: [] for value in rows}
    channels: dict[ir.Value, Array] = {}
    highest = dict.fromkeys(tensors, 0.0)
    with GraphSession(path) as session:
        for number, feeds in enumerate(runs):
            found = session.run(feeds)
            for value, (row_name, channel_name) in rows.items():
                if number < _MAX_RUNS_KEPT:
                    kept[value].append(found[row_name])
                channels[value] = np.maximum(channels.get(value, 0.0), found[channel_name])
            for value, name in peaks.items():
                highest[value] = max(highest[value], float(found[name]))
    seen = {value: Observed(np.concatenate(kept[value]), channels[value]) for value in modules}
    activations = {module: seen[value] for value, names in modules.items() for module in names}
    return Observations(activations, {str(value.name): highest[value] for value in tensors})


def _returns_rows(graph: ir.Graph, value: ir.Value, index: int) -> tuple[str, str]:
    """Let a graph return some rows of a value [..., C], and the largest of each channel; return the outputs' names."""
    assert value.shape is not None  # noqa: S101 - the exporter leaves shapes
    width = value.shape[-1]
    assert isinstance(width, int)  # noqa: S101 - only lengths of prompts are dynamic
    static = [size for size in value.shape[:-1] if isinstance(size, int)]
    step = max(1, math.prod(static) // _ROWS) if len(static) == len(value.shape) - 1 else 8
    flat = _append(graph, "Reshape", [value, _integers(graph, f"rows_shape_{index}", [-1, width])])
    bounds = [
        _integers(graph, f"rows_{what}_{index}", [number])
        for what, number in (("start", 0), ("end", 2**31 - 1), ("axis", 0), ("step", step))
    ]
    rows = _append(graph, "Slice", [flat, *bounds])
    size = _append(graph, "Abs", [flat])
    largest = _append(graph, "ReduceMax", [size, _integers(graph, f"rows_axes_{index}", [0])], {"keepdims": 0})
    return _output(graph, rows, f"rows_{index}"), _output(graph, largest, f"channels_{index}")


def _returns_peak(graph: ir.Graph, value: ir.Value, index: int) -> str:
    size = _append(graph, "Abs", [value])
    return _output(graph, _append(graph, "ReduceMax", [size], {"keepdims": 0}), f"peak_{index}")


def _append(graph: ir.Graph, op: str, inputs: list[ir.Value], attributes: dict[str, int] | None = None) -> ir.Value:
    node = ir.node(op, inputs, attributes)
    graph.append(node)
    return node.outputs[0]


def _integers(graph: ir.Graph, name: str, numbers: list[int]) -> ir.Value:
    tensor = ir.Tensor(np.array(numbers, np.int64), name=name)
    value = ir.Value(name=name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(ir.DataType.INT64))
    graph.initializers.add(value)
    return value


def _output(graph: ir.Graph, value: ir.Value, name: str) -> str:
    value.name, value.dtype = name, ir.DataType.FLOAT
    graph.outputs.append(value)
    return name
