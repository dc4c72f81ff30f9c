from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.manifests import GRAPH_NAMES
from st4vla.export.quantization.observing import Observations, observe
from st4vla.export.quantization.overflow import LARGEST, Overflow, find_overflows
from st4vla.export.quantization.recipe import get_form


def perceptron(trial: Callable[..., Any], path: Path, *, size: float = 1, bias: float = 0) -> Path:
    """Write a norm, and two layers of products of which the first makes numbers of a size."""
    made, (x,) = trial(x=(2, 4))
    square = made.node("Pow", [x, made.weight("two", np.array(2.0))], "blocks.0.norm/Pow", (2, 4))
    mean = made.node("ReduceMean", [square], "blocks.0.norm/ReduceMean", (1, 1))
    root = made.node("Reciprocal", [made.node("Sqrt", [mean], "blocks.0.norm/Sqrt", (1, 1))], "blocks.0.norm/R", (1, 1))
    normed = made.node("Mul", [x, root], "blocks.0.norm/Mul", (2, 4))
    wide = made.node(
        "MatMul", [normed, made.weight("blocks.0.a.weight", size * np.eye(4))], "blocks.0.a/MatMul", (2, 4)
    )
    shifted = made.node("Add", [wide, made.weight("blocks.0.a.bias", np.full(4, bias))], "blocks.0.a/Add", (2, 4))
    narrow = made.weight("blocks.1.b.weight", np.eye(4) / max(size, 1))
    back = made.node("MatMul", [shifted, narrow], "blocks.1.b/MatMul", (2, 4))
    made.output(made.node("Add", [x, back], "blocks.1/Add", (2, 4)))
    return made.save(path)  # type: ignore[no-any-return]


def found_in(path: Path, x: float, tmp_path: Path) -> list[Overflow]:
    seen = observe(path, [{"x": np.full((2, 4), x, np.float32)}], tmp_path)
    return find_overflows(path, seen.largest)


def test_a_tensor_beyond_float16_is_named_with_each_block_that_needs_it(
    trial: Callable[..., Any], tmp_path: Path
) -> None:
    found = found_in(perceptron(trial, tmp_path / "a.onnx", size=30_000), 1, tmp_path)
    assert {(each.block, each.tensor) for each in found} == {
        ("blocks.0", "blocks.0.a.MatMul"),
        ("blocks.0", "blocks.0.a.Add"),
        ("blocks.1", "blocks.0.a.Add"),
    }
    assert {each.largest for each in found} == {30_000}
    assert str(found[0]) == "blocks.0: blocks.0.a.Add reaches 3e+04; float16 ends at 65504"


def test_numbers_that_fit_with_room_are_not_named(trial: Callable[..., Any], tmp_path: Path) -> None:
    assert found_in(perceptron(trial, tmp_path / "a.onnx", size=LARGEST / 4.1), 1, tmp_path) == []


def test_the_squares_of_norms_and_the_residual_stream_stay_float32_and_may_be_huge(
    trial: Callable[..., Any], tmp_path: Path
) -> None:
    path = perceptron(trial, tmp_path / "a.onnx")
    seen = observe(path, [{"x": np.full((2, 4), 1e6, np.float32)}], tmp_path)
    assert max(seen.largest.values()) > 0.9e12
    assert find_overflows(path, seen.largest) == []


def test_constants_are_held_to_what_they_are(trial: Callable[..., Any], tmp_path: Path) -> None:
    path = perceptron(trial, tmp_path / "a.onnx", bias=1e5)
    blamed = {(each.block, each.tensor) for each in found_in(path, 1, tmp_path)}
    assert ("blocks.0", "blocks.0.a.bias") in blamed
    path = perceptron(trial, tmp_path / "b.onnx", size=7e4)
    blamed = {(each.block, each.tensor) for each in found_in(path, 0.0, tmp_path)}
    assert ("blocks.0", "blocks.0.a.weight") in blamed


def test_what_a_graph_is_given_is_held_to_it_too(trial: Callable[..., Any], tmp_path: Path) -> None:
    made, (x,) = trial(x=(2, 4))
    made.output(made.node("MatMul", [x, made.weight("keys.0.weight", np.eye(4) / 1e6)], "keys.0/MatMul", (2, 4)))
    found = found_in(made.save(tmp_path / "a.onnx"), 1e6, tmp_path)
    assert [(each.block, each.tensor) for each in found] == [("keys", "x")]


def test_a_pinned_block_is_not_named(trial: Callable[..., Any], tmp_path: Path) -> None:
    made, (x,) = trial(x=(2, 4))
    weight = made.weight("transformer.final_layer.linear.weight", np.eye(4) * 1e6)
    made.output(made.node("MatMul", [x, weight], "transformer.final_layer.linear/MatMul", (2, 4)))
    assert found_in(made.save(tmp_path / "a.onnx"), 1, tmp_path) == []


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_numbers_that_are_none_are_named(trial: Callable[..., Any], tmp_path: Path, broken: float) -> None:
    path = perceptron(trial, tmp_path / "a.onnx")
    assert [each.block for each in find_overflows(path, {"blocks.0.a.Add": broken})] == ["blocks.0", "blocks.1"]


@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_the_tiny_policy_fits_float16(
    paths: dict[str, Path], observations: dict[str, Observations], graph: str
) -> None:
    assert find_overflows(paths[graph], observations[graph].largest) == []


def test_blocks_that_overflow_become_bfloat16() -> None:
    rungs = {"blocks.0": "half", "blocks.1": "half", "blocks.2": "int8", "blocks.3": "float32"}
    recipe = get_form("tensorrt").recipe(rungs, ["blocks.1", "blocks.2"])
    assert recipe.precisions == {
        "blocks.0": "float16",
        "blocks.1": "bfloat16",
        "blocks.2": "int8",
        "blocks.3": "float32",
    }
    assert recipe.float_types() == {"blocks.0": "float16", "blocks.1": "bfloat16", "blocks.2": "bfloat16"}
