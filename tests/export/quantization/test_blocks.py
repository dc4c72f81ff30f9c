from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from st4vla.contracts.manifests import GRAPH_NAMES
from st4vla.export.quantization.blocks import KEPT, block_names, block_of, find_products, node_blocks, table_names

BLOCKS = {
    "planner": [
        *("embed", "visual.patches", "visual.blocks.0", "visual.blocks.1", "visual.merger"),
        *("layers.0", "layers.1", "keys", "values"),
    ],
    "bridge": ["patches", "blocks.0", "blocks.1", "keys", "values", "layers.0", "queries", "layers.1", "embed"],
    "sampler": ["transformer.x_embedder", "transformer.blocks.0", "transformer.blocks.1", "transformer.final_layer"],
}


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("transformer.blocks.3.attn.qkv/MatMul", "transformer.blocks.3"),
        ("visual.blocks.31.mlp.gate_proj/MatMul_2", "visual.blocks.31"),
        ("visual.merger.mlp.0/MatMul", "visual.merger"),
        ("transformer.x_embedder.linear/MatMul", "transformer.x_embedder"),
        ("layers.11.self_attn.o_proj/MatMul", "layers.11"),
        ("blocks.0/Add", "blocks.0"),
        ("keys.1/MatMul", "keys"),
        ("norm/Pow", "norm"),
        ("transformer/Concat", "transformer"),
        ("MatMul_7", ""),
        ("", ""),
    ],
)
def test_a_node_belongs_to_the_layer_or_the_part_that_its_name_says(name: str, block: str) -> None:
    assert block_of(name) == block


@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_the_tiny_graphs_have_the_blocks_of_the_policys_modules(paths: dict[str, Path], graph: str) -> None:
    assert block_names(ir.load(paths[graph]).graph) == BLOCKS[graph]


@pytest.mark.parametrize(("graph", "count"), [("planner", 31), ("bridge", 21), ("sampler", 11)])
def test_products_are_all_those_with_a_weight(paths: dict[str, Path], graph: str, count: int) -> None:
    loaded = ir.load(paths[graph]).graph
    products = find_products(loaded)
    assert len(products) == count
    for product in products:
        assert product.weight.name == f"{product.module}.weight"
        assert product.rows == product.weight.const_value.numpy().shape[0]  # type: ignore[union-attr]
        assert product.activation.const_value is None
    made = {each.node for each in products}
    left = [
        node for node in loaded if node.op_type == "MatMul" and node not in made and block_of(str(node.name)) != KEPT
    ]
    assert left
    # What replanning on change looks at keeps its floats.
    left = [node for node in left if not str(node.name).startswith("cells/")]
    assert not any(value.is_initializer() for node in left for value in node.inputs if value is not None)


def test_the_projection_of_cells_is_no_product_that_could_be_lowered(paths: dict[str, Path]) -> None:
    graph = ir.load(paths["bridge"]).graph
    assert [node.name for node in graph if block_of(str(node.name)) == KEPT and node.op_type == "MatMul"] == [
        "cells/MatMul"
    ]
    assert KEPT not in block_names(graph)


def test_only_what_is_read_from_is_a_table(paths: dict[str, Path]) -> None:
    assert {name: table_names(ir.load(paths[name]).graph) for name in GRAPH_NAMES} == {
        "planner": ["embed"],
        "bridge": [],
        "sampler": [],
    }


def test_attention_belongs_to_the_layer_whose_queries_it_multiplies(paths: dict[str, Path]) -> None:
    graph = ir.load(paths["planner"]).graph
    blocks = node_blocks(graph, block_names(graph))
    attention = [blocks[node] for node in graph if node.op_type == "MatMul" and "/" not in str(node.name)]
    assert [block for block in attention if block.startswith("layers")] == ["layers.0"] * 2 + ["layers.1"] * 2
    softmax = [blocks[node] for node in graph if node.op_type == "Softmax"]
    assert softmax == ["visual.blocks.0", "visual.blocks.1", "layers.0", "layers.1"]


def test_what_comes_before_the_first_block_belongs_to_none(paths: dict[str, Path]) -> None:
    graph = ir.load(paths["sampler"]).graph
    blocks = node_blocks(graph, block_names(graph))
    first = next(index for index, node in enumerate(graph) if blocks[node])
    assert graph[first].name == "transformer.x_embedder.linear/MatMul"
    assert blocks[next(node for node in graph if node.op_type == "Less")] == ""


def test_two_constants_are_no_product(trial: Callable[..., Any]) -> None:
    made, _ = trial(x=(1, 4))
    one = made.weight("a.weight", np.ones((4, 4)))
    made.output(made.node("MatMul", [one, one], "a/MatMul", (4, 4)))
    assert find_products(made.model.graph) == []
