"""What a graph consists of: blocks, named after the policy's modules, and the products of each.

Nodes of exported graphs carry the path of their module, such as ``transformer.blocks.3.attn.qkv/MatMul``. A block is
what has a precision of its own: a layer of a network, or one of the parts between them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

#: The language model's table of embeddings, which is read from and not multiplied with.
EMBEDDING = "embed"
#: What tells of changed scenes and of no action, by which precisions are judged. It is small and stays as it is.
KEPT = "cells"
#: Modules that hold layers by number, and modules that hold parts by name.
_LISTS, _GROUPS = {"blocks", "layers"}, {"visual", "transformer"}


@dataclass(frozen=True)
class Product:
    """A product of activations with weights.

    Attributes:
        node: The product.
        block: The block that it is a part of.
        activation: What is multiplied, [..., in].
        weight: With what, [in, out].
    """

    node: ir.Node
    block: str
    activation: ir.Value
    weight: ir.Value

    @property
    def module(self) -> str:
        """The path of its module."""
        return str(self.node.name).partition("/")[0]

    @property
    def rows(self) -> int:
        """How many rows its weight has."""
        assert self.weight.const_value is not None  # noqa: S101 - it is a constant
        return int(self.weight.const_value.shape.numpy()[0])


def block_of(name: str) -> str:
    """Return the block of a node of that name; empty where the name has no module.

    A layer of a network, such as ``visual.blocks.3``, or a part such as ``visual.merger`` and ``keys``.
    """
    module, slash, _ = name.partition("/")
    parts = module.split(".") if slash else []
    for index in range(1, len(parts)):
        if parts[index - 1] in _LISTS and parts[index].isdigit():
            return ".".join(parts[: index + 1])
    return ".".join(parts[: 2 if parts and parts[0] in _GROUPS else 1])


def find_products(graph: ir.Graph) -> list[Product]:
    """Return a graph's products with weights, in its order, but for those of `KEPT`."""
    return [
        Product(node, block_of(str(node.name)), node.inputs[0], node.inputs[1])
        for node in graph
        if node.op_type == "MatMul"
        and block_of(str(node.name)) != KEPT
        and node.inputs[0] is not None
        and node.inputs[1] is not None
        and is_constant(node.inputs[1])
        and not is_constant(node.inputs[0])
    ]


def block_names(graph: ir.Graph) -> list[str]:
    """Return the blocks that have products, in the graph's order, and before them the table of embeddings."""
    return [*table_names(graph), *dict.fromkeys(product.block for product in find_products(graph))]


def table_names(graph: ir.Graph) -> list[str]:
    """Return the blocks that are tables of embeddings."""
    names = [block_of(str(node.name)) for node in graph if node.op_type == "Gather" and is_constant(node.inputs[0])]
    return [name for name in names if name == EMBEDDING]


def is_constant(value: ir.Value | None) -> bool:
    """Say whether a value is a weight or another constant."""
    return value is not None and value.producer() is None and value.const_value is not None


def node_blocks(graph: ir.Graph, names: Collection[str]) -> dict[ir.Node, str]:
    """Return the block of every node; empty before the first one.

    Operations outside of a layer's own modules, such as its attention, belong to the layer whose output they work on.

    Args:
        graph: The graph, whose weights may have become whole numbers.
        names: Its `block_names` before that.
    """
    blocks: dict[ir.Node, str] = {}
    for node in graph:
        own = block_of(str(node.name))
        if own not in names:
            producers = (value.producer() for value in node.inputs if value is not None)
            own = next((blocks[each] for each in producers if each is not None and blocks[each]), "")
        blocks[node] = own
    return blocks
