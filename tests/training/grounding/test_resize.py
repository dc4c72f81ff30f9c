"""Tests of the resizing rule, against the one that it follows."""

import ast
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.resize import smart_resize


def find_published() -> Callable[..., tuple[int, int]]:
    """Take transformers' function out of its file: importing the module brings torch and takes seconds."""
    spec = importlib.util.find_spec("transformers")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "models/qwen2_vl/image_processing_qwen2_vl.py"
    nodes = ast.parse(path.read_text()).body
    function = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == "smart_resize"]
    names: dict[str, Any] = {"math": math}
    exec(compile(ast.Module(function, []), path, "exec"), names)
    return names["smart_resize"]  # type: ignore[no-any-return]


published = find_published()


@pytest.mark.parametrize("bounds", [(56 * 56, 28 * 28 * 1280), (784, 50_176), (256 * 784, 1280 * 784)])
def test_every_size_of_a_grid_is_resized_as_transformers_does(bounds: tuple[int, int]) -> None:
    low, high = bounds
    sides = [*range(1, 60), *range(60, 700, 37), 1000, 1013, 1920, 4032, 9999]
    for height in sides:
        for width in sides:
            if max(height, width) <= 200 * min(height, width):
                ours = smart_resize(height, width, min_pixels=low, max_pixels=high)
                assert ours == published(height, width, min_pixels=low, max_pixels=high), (height, width)


@settings(deadline=None)
@given(st.integers(1, 20_000), st.integers(1, 20_000), st.sampled_from([14, 28, 32]))
def test_any_size_is_resized_as_transformers_does_or_refused_as_it_refuses(
    height: int, width: int, factor: int
) -> None:
    try:
        expected = published(height, width, factor=factor)
    except ValueError:
        with pytest.raises(DatasetError):
            smart_resize(height, width, factor=factor)
    else:
        assert smart_resize(height, width, factor=factor) == expected


@pytest.mark.parametrize("size", [(0, 10), (-3, 4), (1, 201)])
def test_a_picture_that_cannot_be_shown_is_refused_with_its_size(size: tuple[int, int]) -> None:
    with pytest.raises(DatasetError, match=f"{size[1]} x {size[0]} pixels cannot be shown"):
        smart_resize(*size)
