"""Tests of which numbers become small, and of how that is emulated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from st4vla.contracts.manifests import GRAPH_NAMES
from st4vla.export.onnx_export import save_graph
from st4vla.export.quantization.blocks import block_names, find_products, node_blocks
from st4vla.export.quantization.floats import lower_floats
from st4vla.export.quantization.recipe import PINNED

SINGLE, HALF, BRAIN = ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16
MOVES = {"Transpose", "Reshape", "Slice", "Squeeze", "Unsqueeze", "Concat", "Split", "Gather", "Expand", "Identity"}
EVERY_GRAPH = pytest.mark.parametrize("graph", GRAPH_NAMES)


def lowered(path: Path, kind: str = "float16", *, emulate: bool = False, only: str = "") -> ir.Model:
    model = ir.load(path)
    names = block_names(model.graph)
    types = {name: kind for name in names if name.startswith(only) and name not in PINNED}
    lower_floats(model.graph, names, types, emulate=emulate)
    return model


def saved(model: ir.Model, folder: Path) -> Path:
    path = folder / "lowered.onnx"
    save_graph(model, path)
    return path


@EVERY_GRAPH
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_graphs_of_small_floats_are_well_typed_and_keep_their_inputs_and_outputs(
    paths: dict[str, Path], tmp_path: Path, graph: str, kind: str
) -> None:
    before = onnx.load(paths[graph], load_external_data=False).graph
    path = saved(lowered(paths[graph], kind), tmp_path)
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    assert [each.SerializeToString() for each in model.graph.input] == [
        each.SerializeToString() for each in before.input
    ]
    for ours, theirs in zip(model.graph.output, before.output, strict=True):
        assert (ours.name, ours.type.tensor_type.elem_type) == (theirs.name, onnx.TensorProto.FLOAT)


@EVERY_GRAPH
def test_no_product_of_a_small_block_is_left_in_float32(paths: dict[str, Path], graph: str) -> None:
    model = lowered(paths[graph])
    pinned = {product.node for product in find_products(model.graph) if product.block in PINNED}
    products = [node for node in model.graph if node.op_type == "MatMul" and node not in pinned]
    assert len(products) > 10
    for node in products:
        assert {value.dtype for value in (*node.inputs, *node.outputs) if value is not None} == {HALF}, node.name


@EVERY_GRAPH
def test_norms_stay_float32(paths: dict[str, Path], graph: str) -> None:
    model = lowered(paths[graph])
    kinds = {"LayerNormalization", "Pow", "ReduceMean", "Sqrt", "Reciprocal"}
    norms = [node for node in model.graph if node.op_type in kinds]
    assert norms
    for node in norms:
        assert {value.dtype for value in (*node.inputs, *node.outputs) if value is not None} <= {
            SINGLE,
            ir.DataType.INT64,
        }, node.name


@EVERY_GRAPH
def test_the_residual_stream_stays_float32(paths: dict[str, Path], graph: str) -> None:
    graph_of_blocks = lowered(paths[graph]).graph
    # What norms read, and the sums that make it.
    read = {node.inputs[0] for node in graph_of_blocks if node.op_type in {"LayerNormalization", "Pow"}}
    sums = [value.producer() for value in read if value is not None and value.producer() is not None]
    sums = [node for node in sums if node is not None and node.op_type == "Add"]
    assert len(sums) >= 3
    for node in sums:
        assert {value.dtype for value in (*node.inputs, *node.outputs) if value is not None} == {SINGLE}, node.name


def test_the_denoising_arithmetic_and_the_final_layer_stay_float32(paths: dict[str, Path]) -> None:
    model = lowered(paths["sampler"])
    nodes = list(model.graph)
    start = next(index for index, node in enumerate(nodes) if str(node.name).startswith("transformer.final_layer"))
    assert len(nodes) - start > 20
    types = {value.dtype for node in nodes[start:] for value in (*node.inputs, *node.outputs) if value is not None}
    assert HALF not in types
    outside = [node for node in nodes[:start] if "/" not in str(node.name)]
    assert outside
    assert HALF not in {value.dtype for node in outside for value in node.outputs}


def test_attention_masks_are_added_in_the_type_of_what_they_mask(paths: dict[str, Path]) -> None:
    model = lowered(paths["planner"])
    softmax = [node for node in model.graph if node.op_type == "Softmax"]
    assert [node.inputs[0].dtype for node in softmax if node.inputs[0] is not None] == [HALF] * 4


@EVERY_GRAPH
def test_what_is_emulated_is_rounded_exactly_where_the_true_graph_is_small(paths: dict[str, Path], graph: str) -> None:
    true, emulated = lowered(paths[graph]), lowered(paths[graph], emulate=True)

    def cast(model: ir.Model) -> set[str]:
        """Return what is cast to float16, under the names that it had before."""
        casts = [node for node in model.graph if node.op_type == "Cast" and node.outputs[0].dtype is HALF]
        return {str(node.inputs[0].name).removesuffix(".small") for node in casts if node.inputs[0] is not None}

    made = {
        str(value.name).removesuffix(".small")
        for node in true.graph
        if node.op_type not in {"Cast", *MOVES}
        for value in node.outputs
        if value.dtype is HALF
    }
    assert len(made) > 20
    assert cast(emulated) == cast(true) | made


@EVERY_GRAPH
def test_emulated_graphs_compute_in_float32(paths: dict[str, Path], tmp_path: Path, graph: str) -> None:
    model = lowered(paths[graph], "bfloat16", emulate=True)
    for node in model.graph:
        small = [value for value in node.inputs if value is not None and value.dtype in {HALF, BRAIN}]
        assert not small or node.op_type == "Cast", node.name
    onnx.checker.check_model(str(saved(model, tmp_path)), full_check=True)


@EVERY_GRAPH
@pytest.mark.parametrize("emulate", [False, True])
def test_weights_of_other_blocks_are_untouched(paths: dict[str, Path], graph: str, emulate: bool) -> None:
    chosen = {"planner": "layers.1", "bridge": "blocks.0", "sampler": "transformer.blocks.1"}[graph]
    before, after = ir.load(paths[graph]).graph, lowered(paths[graph], only=chosen, emulate=emulate).graph
    weights = {each.module: each for each in find_products(before)}
    changed = set()
    for product in find_products(after):
        old = weights[product.module].weight.const_value.numpy()  # type: ignore[union-attr]
        new = product.weight.const_value.numpy()  # type: ignore[union-attr]
        if product.block == chosen:
            changed.add(product.module)
            np.testing.assert_array_equal(new.astype(np.float32), old.astype(np.float16).astype(np.float32))
            assert new.dtype == (np.float32 if emulate else np.float16)
        else:
            assert new.dtype == np.float32
            assert new.tobytes() == old.tobytes()
    assert len(changed) >= 4


def test_nothing_changes_where_no_block_is_small(paths: dict[str, Path]) -> None:
    before, after = ir.load(paths["bridge"]).graph, ir.load(paths["bridge"])
    lower_floats(after.graph, block_names(after.graph), {})
    assert [node.name for node in after.graph] == [node.name for node in before]
    assert {value.dtype for node in after.graph for value in node.outputs} <= {SINGLE, ir.DataType.INT64}


def test_a_table_of_embeddings_is_stored_small_and_read_as_float32(paths: dict[str, Path]) -> None:
    model = lowered(paths["planner"], only="embed")
    (gather,) = [node for node in model.graph if str(node.name).startswith("embed/Gather")]
    assert gather.inputs[0] is not None
    assert gather.inputs[0].dtype is HALF
    (use,) = gather.outputs[0].uses()
    assert (use.node.op_type, use.node.outputs[0].dtype) == ("Cast", SINGLE)


def test_numbers_keep_their_type_after_somebody_read_them_in_float32(
    trial: Callable[..., Any], run: Callable[..., Any], tmp_path: Path
) -> None:
    """A norm reads a product in float32; what else reads it works in float16, also where that is emulated."""
    made, (x,) = trial(x=(4, 8))
    weight = made.weight("blocks.0.a.weight", np.random.default_rng(1).standard_normal((8, 8)))
    product = made.node("MatMul", [x, weight], "blocks.0.a/MatMul", (4, 8))
    scale = made.weight("ones", np.ones(8))
    made.output(made.node("LayerNormalization", [product, scale], "blocks.0.norm/LayerNormalization", (4, 8)))
    made.output(made.node("Mul", [product, product], "blocks.0/Mul", (4, 8)))
    lower_floats(made.model.graph, ["blocks.0"], {"blocks.0": "float16"}, emulate=True)
    feeds = {"x": np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)}
    answer = run(made.save(tmp_path / "emulated.onnx"), feeds)
    found = answer["blocks.0.Mul"]
    np.testing.assert_array_equal(found, found.astype(np.float16).astype(np.float32))
    small = feeds["x"].astype(np.float16).astype(np.float64) @ weight.const_value.numpy().astype(np.float16)
    np.testing.assert_allclose(found, np.square(small), rtol=3e-3, atol=1e-3)


def test_blocks_of_nodes_are_known_for_each_of_them(paths: dict[str, Path]) -> None:
    graph = ir.load(paths["planner"]).graph
    assert set(node_blocks(graph, block_names(graph))) == set(graph)
