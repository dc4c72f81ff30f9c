"""Run blocks of a float32 graph in float16 or bfloat16.

What a block multiplies, and what it does to products before they are added to the residual stream, is in its float
type. The residual stream, norms, and everything that is not part of a block, such as the denoising arithmetic, stay
float32. Types are explicit in the graph, as strongly typed networks want them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import ml_dtypes
import numpy as np
import onnx_ir as ir

from st4vla.export.quantization.blocks import is_constant, node_blocks
from st4vla.export.quantization.editing import Editor, numbers
from st4vla.export.quantization.recipe import PINNED

FLOAT_TYPES = {
    "float32": ir.DataType.FLOAT,
    "float16": ir.DataType.FLOAT16,
    "bfloat16": ir.DataType.BFLOAT16,
}
_NUMPY = {ir.DataType.FLOAT16: np.dtype(np.float16), ir.DataType.BFLOAT16: np.dtype(ml_dtypes.bfloat16)}
#: Norms, whose squares and sums overflow or lose too much, and rotary angles.
_STAY = {
    "LayerNormalization",
    "ReduceMean",
    "Pow",
    "Sqrt",
    "Reciprocal",
    "Cos",
    "Sin",
    "Cast",
    "Range",
    "Less",
    "Where",
}
_LEAD = {"MatMul", "QuantizeLinear", "DequantizeLinear"}
#: Operations that move numbers and make none.
_MOVES = {"Transpose", "Reshape", "Slice", "Squeeze", "Unsqueeze", "Concat", "Split", "Gather", "Expand", "Identity"}


def lower_floats(
    graph: ir.Graph, names: Collection[str], block_types: Mapping[str, str], *, emulate: bool = False
) -> None:
    """Change a graph in place.

    Args:
        graph: All in float32; whole numbers with scales may be in it already.
        names: All of its blocks.
        block_types: Float type of each block that is not float32; see `FLOAT_TYPES`.
        emulate: Round to the float type, but compute in float32, which every machine can.
    """
    _Lowering(graph, names, {block: FLOAT_TYPES[name] for block, name in block_types.items()}, emulate).run()


def narrowed_tensors(graph: ir.Graph, names: Collection[str]) -> set[tuple[str, str]]:
    """Return which float32 tensors become smaller floats where all blocks are: the block that needs it, and its name.

    The graph is changed on the way.
    """
    small = {name: ir.DataType.FLOAT16 for name in names if name not in PINNED}
    lowering = _Lowering(graph, names, small, emulate=False)
    lowering.run()
    return lowering.narrowed


class _Lowering:
    def __init__(
        self, graph: ir.Graph, names: Collection[str], block_types: Mapping[str, ir.DataType], emulate: bool
    ) -> None:
        self._graph, self._block_types, self._emulate = graph, block_types, emulate
        self._editor, self._blocks = Editor(graph), node_blocks(graph, names)
        self._types: dict[ir.Value, ir.DataType] = {}
        self._cast: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self.narrowed: set[tuple[str, str]] = set()
        #: What attention multiplies queries with keys to, and what follows from it.
        self._scores: set[ir.Value] = set()

    def run(self) -> None:
        for node in list(self._graph):
            outputs = [value for value in node.outputs if self._is_float(value)]
            wanted = self._wanted(node)
            self._follow_scores(node)
            for index, value in enumerate(node.inputs):
                if value is not None and self._is_float(value):
                    if wanted is not ir.DataType.FLOAT:
                        self.narrowed.add((self._blocks[node], str(value.name)))
                    node.replace_input_with(index, self._as(value, wanted, node))
            if wanted is ir.DataType.FLOAT:
                continue
            for value in outputs:
                self._set_type(node, value, wanted)
        for index, value in enumerate(self._graph.outputs):
            if self._types.get(value, ir.DataType.FLOAT) is not ir.DataType.FLOAT:
                self._restore_output(index, value)
        self._editor.drop_unused()

    def _wanted(self, node: ir.Node) -> ir.DataType:
        """Return the float type that a node works in."""
        single = ir.DataType.FLOAT
        own = self._block_types.get(self._blocks[node], single)
        values = [value for value in node.inputs if value is not None and self._is_float(value)]
        moving = [value for value in values if not is_constant(value)]
        if node.op_type in _STAY or own is single:
            # Between two blocks, numbers keep their type while they are only moved.
            same = {self._type(value) for value in moving}
            return same.pop() if node.op_type in _MOVES and len(same) == 1 else single
        if node.op_type in _LEAD or (node.op_type == "Gather" and not moving):
            return own
        types = {self._type(value) for value in moving}
        if node.op_type == "Add" and len(moving) > 1:
            return own if any(value in self._scores for value in moving) else single
        return types.pop() if len(types) == 1 else single

    def _type(self, value: ir.Value) -> ir.DataType:
        return self._types.get(value, ir.DataType.FLOAT)

    def _is_float(self, value: ir.Value) -> bool:
        """Say whether a value was float32, whatever it is by now."""
        return value.dtype is ir.DataType.FLOAT or value in self._types

    def _follow_scores(self, node: ir.Node) -> None:
        values = [value for value in node.inputs if value is not None]
        attends = node.op_type == "MatMul" and not any(is_constant(value) for value in values)
        if attends or (node.op_type in {"Add", "Mul"} and any(value in self._scores for value in values)):
            self._scores.update(node.outputs)

    def _as(self, value: ir.Value, wanted: ir.DataType, node: ir.Node) -> ir.Value:
        """Return a value in another float type."""
        if self._type(value) is wanted:
            return value
        key = value, wanted
        if key not in self._cast:
            self._cast[key] = made = self._converted(value, wanted, node)
            if made is not value:
                self._types[made] = wanted
        return self._cast[key]

    def _converted(self, value: ir.Value, wanted: ir.DataType, node: ir.Node) -> ir.Value:
        if is_constant(value):
            dtype = ir.DataType.FLOAT if self._emulate else wanted
            return self._editor.computed(
                f"{value.name}.{wanted.name.lower()}", value, dtype, lambda: self._round(value, wanted)
            )
        if not self._emulate:
            return self._editor.before(node, "Cast", [value], wanted, {"to": wanted.value}, module=self._module(node))
        return self._rounded(value, wanted, node) if wanted is not ir.DataType.FLOAT else value

    def _round(self, value: ir.Value, wanted: ir.DataType) -> np.ndarray:
        rounded = numbers(value).astype(_NUMPY[wanted])
        return rounded.astype(np.float32) if self._emulate else rounded

    def _rounded(self, value: ir.Value, wanted: ir.DataType, node: ir.Node) -> ir.Value:
        module, single = self._module(node), ir.DataType.FLOAT
        small = self._editor.before(node, "Cast", [value], wanted, {"to": wanted.value}, module=module)
        return self._editor.before(node, "Cast", [small], single, {"to": single.value}, module=module)

    def _set_type(self, node: ir.Node, value: ir.Value, wanted: ir.DataType) -> None:
        """Note, or emulate, that a node's output is of a float type."""
        self.narrowed.add((self._blocks[node], str(value.name)))
        # A table of embeddings is stored small; what is read from it is the residual stream.
        table = node.op_type == "Gather" and is_constant(node.inputs[0])
        if self._emulate:
            if not table and node.op_type not in _MOVES:
                value = self._round_output(node, value, wanted)
        else:
            value.dtype = wanted
        if not table:
            self._types[value] = wanted
        elif not self._emulate:
            single = ir.DataType.FLOAT
            uses = list(value.uses())
            cast = self._editor.after(value, "Cast", single, {"to": single.value}, module=self._module(node))
            for user, index in uses:
                user.replace_input_with(index, cast)

    def _round_output(self, node: ir.Node, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        uses, module, single = list(value.uses()), self._module(node), ir.DataType.FLOAT
        small = self._editor.after(value, "Cast", wanted, {"to": wanted.value}, module=module)
        rounded = self._editor.after(small, "Cast", single, {"to": single.value}, module=module)
        for user, index in uses:
            user.replace_input_with(index, rounded)
        for index, output in enumerate(self._graph.outputs):
            if output is value:
                self._rename_output(index, value, rounded)
        if value in self._scores:
            self._scores.add(rounded)
        return rounded

    def _restore_output(self, index: int, value: ir.Value) -> None:
        """Return a graph's output in float32, under its own name."""
        single = ir.DataType.FLOAT
        if not self._emulate:
            producer = value.producer()
            assert producer is not None  # noqa: S101 - an input is not an output
            cast = self._editor.after(value, "Cast", single, {"to": single.value}, module=self._module(producer))
            self._rename_output(index, value, cast)

    def _rename_output(self, index: int, old: ir.Value, new: ir.Value) -> None:
        name = old.name
        old.name = f"{name}.small"
        new.name = name
        self._graph.outputs[index] = new

    def _module(self, node: ir.Node) -> str:
        return str(node.name).partition("/")[0] if "/" in str(node.name) else self._blocks[node]
