"""Tests that graphs of smaller numbers compute what they should, as they are and emulated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from st4vla.contracts.manifests import GRAPH_NAMES
from st4vla.export.lint import lint
from st4vla.export.quantization.blocks import block_names, find_products
from st4vla.export.quantization.cpu_form import quantize_dynamically
from st4vla.export.quantization.lowering import lower_graph
from st4vla.export.quantization.observing import Observations
from st4vla.export.quantization.recipe import PINNED, GraphRecipe
from st4vla.export.quantization.scaling import Scaling, choose_scaling
from st4vla.export.targets import TARGETS
from st4vla.runtime.golden import measure_parity

EVERY_GRAPH = pytest.mark.parametrize("graph", GRAPH_NAMES)
#: Precision and its surroundings; how far a graph may be from float32, and how far the emulated one from the true one.
#: Where activations are rounded to whole numbers, a small difference may become one whole number.
KINDS = {
    "float16": ("float16", "float16", 5e-3, 3e-3),
    "int8": ("int8", "float16", 0.15, 3e-2),
    "int8 in float32": ("int8", "float32", 0.15, 1e-4),
    "int4": ("int4", "float16", 0.4, 3e-3),
    "int8_dynamic": ("int8_dynamic", "float32", 0.12, 1e-4),
}


@pytest.fixture(scope="session")
def scalings(paths: dict[str, Path], observations: dict[str, Observations]) -> dict[str, dict[str, Scaling]]:
    found: dict[str, dict[str, Scaling]] = {}
    for name, path in paths.items():
        products = find_products(ir.load(path).graph)
        found[name] = {
            each.module: choose_scaling(
                observations[name].activations[each.module],
                [each.weight.const_value.numpy()],  # type: ignore[union-attr]
            )
            for each in products
        }
    return found


def recipe_of(path: Path, precision: str, around: str, *, only: str = "") -> GraphRecipe:
    names = [name for name in block_names(ir.load(path).graph) if name.startswith(only)]
    table = around if around != "float32" else "float32"
    is_planner = path.name == "planner.onnx"
    precisions = {name: table if is_planner and name == "embed" else precision for name in names}
    return GraphRecipe(precisions, dict.fromkeys(names, around))


@EVERY_GRAPH
@pytest.mark.parametrize("kind", KINDS)
def test_true_and_emulated_graphs_agree_and_are_near_float32(  # noqa: PLR0917
    paths: dict[str, Path],
    golden: dict[str, Any],
    scalings: dict[str, dict[str, Scaling]],
    run: Callable[..., Any],
    tmp_path: Path,
    graph: str,
    kind: str,
) -> None:
    precision, around, near, agreement = KINDS[kind]
    recipe, (feeds, wanted) = recipe_of(paths[graph], precision, around), golden[graph]
    answers = []
    for emulate in (False, True):
        target = tmp_path / f"{emulate}.onnx"
        lower_graph(paths[graph], target, recipe, scalings[graph], emulate=emulate)
        answers.append(run(target, feeds))
    onnx.checker.check_model(str(tmp_path / "False.onnx"), full_check=True)
    true, emulated = answers
    assert {array.dtype for array in true.values()} == {np.dtype(np.float32)}
    distance = measure_parity(wanted, emulated).max_relative
    assert 1e-5 < distance < near
    assert measure_parity(emulated, true).max_relative < agreement


@EVERY_GRAPH
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_whole_numbers_around_bfloat16_are_well_typed(
    paths: dict[str, Path], scalings: dict[str, dict[str, Scaling]], tmp_path: Path, graph: str, precision: str
) -> None:
    target = tmp_path / "lowered.onnx"
    lower_graph(paths[graph], target, recipe_of(paths[graph], precision, "bfloat16"), scalings[graph])
    onnx.checker.check_model(str(target), full_check=True)
    onnx.shape_inference.infer_shapes(onnx.load(target), check_type=True, strict_mode=True)


@EVERY_GRAPH
@pytest.mark.parametrize("precision", ["float16", "int8", "int4"])
def test_targets_take_what_is_written(
    paths: dict[str, Path], scalings: dict[str, dict[str, Scaling]], tmp_path: Path, graph: str, precision: str
) -> None:
    target = tmp_path / "lowered.onnx"
    lower_graph(paths[graph], target, recipe_of(paths[graph], precision, "float16"), scalings[graph])
    assert [str(each) for each in lint(onnx.load(target), TARGETS["orin-nx-16"])] == []


def test_weights_shrink_to_what_their_whole_numbers_take(
    paths: dict[str, Path], scalings: dict[str, dict[str, Scaling]], tmp_path: Path
) -> None:
    sizes = {}
    for precision in ("float32", "float16", "int8", "int4"):
        target = tmp_path / f"{precision}.onnx"
        around = "float32" if precision == "float32" else "float16"
        lower_graph(paths["sampler"], target, recipe_of(paths["sampler"], precision, around), scalings["sampler"])
        sizes[precision] = target.with_name(f"{target.name}.data").stat().st_size
    assert sizes["float16"] < 0.6 * sizes["float32"]
    assert sizes["int8"] < 0.4 * sizes["float32"]
    assert sizes["int4"] < 0.3 * sizes["float32"]


@pytest.mark.parametrize("emulate", [False, True])
@pytest.mark.parametrize("precision", ["float16", "int8", "int4", "int8_dynamic"])
def test_the_final_layer_stays_as_it_is_whatever_is_asked_for(  # noqa: PLR0917
    paths: dict[str, Path],
    golden: dict[str, Any],
    run: Callable[..., Any],
    tmp_path: Path,
    precision: str,
    emulate: bool,
) -> None:
    scaling = Scaling(np.full(64, 2, np.float32), 0.1)
    names = dict.fromkeys(PINNED, precision)
    recipe = GraphRecipe(names, dict.fromkeys(PINNED, "float16"))
    target = tmp_path / "sampler.onnx"
    module = "transformer.final_layer.linear"
    lower_graph(paths["sampler"], target, recipe, {module: scaling}, emulate=emulate)
    feeds, _ = golden["sampler"]
    ours, theirs = (run(path, feeds)["next_chunk"] for path in (target, paths["sampler"]))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("precision", ["int8", "int4", "int8_dynamic"])
def test_only_chosen_blocks_have_whole_numbers(
    paths: dict[str, Path], scalings: dict[str, dict[str, Scaling]], tmp_path: Path, precision: str
) -> None:
    target, chosen = tmp_path / "sampler.onnx", "transformer.blocks.0"
    recipe = recipe_of(paths["sampler"], precision, "float32", only=chosen)
    lower_graph(paths["sampler"], target, recipe, scalings["sampler"])
    before = {each.module: each.weight for each in find_products(ir.load(paths["sampler"]).graph)}
    after = {each.module: each.weight for each in find_products(ir.load(target).graph)}
    assert set(before) - set(after) == {name for name in before if name.startswith(chosen)}
    for module, weight in after.items():
        ours, theirs = (each.const_value.numpy() for each in (weight, before[module]))  # type: ignore[union-attr]
        assert ours.tobytes() == theirs.tobytes()


def test_a_weight_that_does_not_divide_stays_in_its_surroundings(paths: dict[str, Path], tmp_path: Path) -> None:
    target, block = tmp_path / "sampler.onnx", "transformer.x_embedder"
    lower_graph(paths["sampler"], target, GraphRecipe({block: "int4"}, {block: "float16"}), {})
    (product,) = [each for each in find_products(ir.load(target).graph) if each.block == block]
    assert product.weight.dtype is ir.DataType.FLOAT16


def test_a_block_of_float32_is_float32_whatever_surrounds_whole_numbers(paths: dict[str, Path], tmp_path: Path) -> None:
    target, names = tmp_path / "bridge.onnx", block_names(ir.load(paths["bridge"]).graph)
    lower_graph(
        paths["bridge"], target, GraphRecipe(dict.fromkeys(names, "float32"), dict.fromkeys(names, "float16")), {}
    )
    graph = ir.load(target).graph
    assert ir.DataType.FLOAT16 not in {value.dtype for node in graph for value in node.outputs}
    assert [node.name for node in graph] == [node.name for node in ir.load(paths["bridge"]).graph]


@EVERY_GRAPH
def test_the_form_for_cpus_multiplies_whole_numbers_and_is_near_its_emulation(
    paths: dict[str, Path], golden: dict[str, Any], run: Callable[..., Any], tmp_path: Path, graph: str
) -> None:
    target, recipe = tmp_path / f"{graph}.onnx", recipe_of(paths[graph], "int8_dynamic", "float32")
    quantize_dynamically(paths[graph], target, recipe)
    feeds, wanted = golden[graph]
    assert measure_parity(wanted, run(target, feeds)).max_relative < 0.15
    assert measure_parity(wanted, run(target, feeds)).cosine > 0.998
    loaded = onnx.load(target).graph
    products = [each for each in find_products(ir.load(paths[graph]).graph) if each.block not in PINNED]
    assert len([node for node in loaded.node if node.op_type == "MatMulInteger"]) == len(products)
    before = onnx.load(paths[graph]).graph
    assert [each.name for each in (*loaded.input, *loaded.output)] == [
        each.name for each in (*before.input, *before.output)
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{graph}.onnx", f"{graph}.onnx.data"]


def test_the_form_for_cpus_leaves_other_blocks_alone(paths: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "sampler.onnx"
    quantize_dynamically(paths["sampler"], target, GraphRecipe({"transformer.blocks.0": "int8_dynamic"}))
    left = {product.block for product in find_products(ir.load(target).graph)}
    assert left == {"transformer.x_embedder", "transformer.blocks.1", "transformer.final_layer"}
    quantize_dynamically(paths["sampler"], target, GraphRecipe({"transformer.blocks.0": "float32"}))
    assert len(find_products(ir.load(target).graph)) == 11
