"""Small changes to a graph: nodes put between others, and constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir


class Editor:
    """Changes one graph.

    Args:
        graph: The graph.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._names = {value.name for node in graph for value in node.outputs} | set(graph.initializers)
        self._names |= {value.name for value in graph.inputs}
        self._node_names = {node.name for node in graph}

    def before(
        self,
        node: ir.Node,
        op: str,
        inputs: list[ir.Value],
        dtype: ir.DataType,
        attributes: Mapping[str, Any] | None = None,
        *,
        module: str,
    ) -> ir.Value:
        """Put an operation before a node, and return what it makes; the first input gives it its shape."""
        made = self._node(op, inputs, dtype, attributes, module)
        self._graph.insert_before(node, made)
        return made.outputs[0]

    def after(
        self,
        value: ir.Value,
        op: str,
        dtype: ir.DataType,
        attributes: Mapping[str, Any] | None = None,
        *,
        module: str,
    ) -> ir.Value:
        """Put an operation on what a node makes, and return its result, which nothing uses yet."""
        producer = value.producer()
        assert producer is not None  # noqa: S101 - inputs and constants are changed where they are used
        made = self._node(op, [value], dtype, attributes, module)
        self._graph.insert_after(producer, made)
        return made.outputs[0]

    def dynamic(self, node: ir.Node, value: ir.Value, *, module: str) -> ir.Value:
        """Put before a node what rounds a value to uint8 of its range in each run, and return the rounded value."""
        measure = ir.node("DynamicQuantizeLinear", [value], num_outputs=3)
        kinds = (ir.DataType.UINT8, ir.DataType.FLOAT, ir.DataType.UINT8)
        for output, name, dtype in zip(measure.outputs, ("whole", "scale", "zero"), kinds, strict=True):
            output.name, output.dtype = self._free(self._names, f"{module}.{name}"), dtype
        measure.name = self._free(self._node_names, f"{module}/DynamicQuantizeLinear")
        measure.outputs[0].shape = value.shape
        self._graph.insert_before(node, measure)
        return self.before(node, "DequantizeLinear", list(measure.outputs), ir.DataType.FLOAT, module=module)

    def constant(self, name: str, array: npt.NDArray[Any], dtype: ir.DataType | None = None) -> ir.Value:
        """Return a new constant."""
        return self._add(name, ir.Tensor(array, dtype=dtype))

    def computed(self, name: str, like: ir.Value, dtype: ir.DataType, make: Callable[[], npt.NDArray[Any]]) -> ir.Value:
        """Return a new constant of the shape of another, that is computed when it is written."""
        assert like.shape is not None  # noqa: S101 - every constant has one
        return self._add(
            name, ir.LazyTensor(lambda: ir.Tensor(make(), dtype=dtype), dtype=dtype, shape=ir.Shape(like.shape))
        )

    def drop_unused(self) -> None:
        """Remove constants that nothing uses any more."""
        for name in [name for name, value in self._graph.initializers.items() if not value.uses()]:
            del self._graph.initializers[name]

    def _add(self, name: str, tensor: Any) -> ir.Value:
        value = ir.Value(
            name=self._free(self._names, name), type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor
        )
        self._graph.initializers.add(value)
        return value

    def _node(
        self, op: str, inputs: list[ir.Value], dtype: ir.DataType, attributes: Mapping[str, Any] | None, module: str
    ) -> ir.Node:
        node = ir.node(op, inputs, attributes, name=self._free(self._node_names, f"{module}/{op}"))
        result = node.outputs[0]
        result.name = self._free(self._names, f"{module}.{op.lower()}")
        result.dtype, result.shape = dtype, inputs[0].shape
        return node

    @staticmethod
    def _free(names: set[Any], wanted: str) -> str:
        name, count = wanted, 1
        while name in names:
            count += 1
            name = f"{wanted}_{count}"
        names.add(name)
        return name


def numbers(value: ir.Value) -> npt.NDArray[Any]:
    """Return the numbers of a constant."""
    assert value.const_value is not None  # noqa: S101 - asked of constants alone
    return np.asarray(value.const_value.numpy())
