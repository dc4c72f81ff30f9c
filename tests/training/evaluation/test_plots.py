import builtins
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from st4vla.contracts.errors import MissingExtraError, StorageError, UsageError
from st4vla.training.evaluation.plots import COLOURS, HEIGHT, WIDTH, Band, Curve, plot_curves

CURVES: dict[str, Curve] = {
    "spatially guided": [(0, 1.0), (10, 0.4), (20, math.nan), (30, 0.1)],
    "direct": [(step, 1 / (step + 1)) for step in range(100)],
}


def draw(path: Path, curves: dict[str, Curve] = CURVES, **options: Any) -> None:
    plot_curves(path, curves, x="step", y="loss", title="Two recipes", **options)


@pytest.mark.parametrize("log_y", [False, True])
def test_curves_become_a_png_of_a_fixed_size(tmp_path: Path, log_y: bool) -> None:
    path = tmp_path / "new" / "loss.png"
    draw(path, log_y=log_y, band={"spatially guided": ([0.9, 0.3, 0.2, 0.05], [1.1, 0.5, 0.3, 0.2])})
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("PNG", (WIDTH, HEIGHT))
        seen = {tuple(pixel) for pixel in np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()}
    for colour in COLOURS[:2]:
        assert tuple(bytes.fromhex(colour[1:])) in seen
    assert [each.name for each in path.parent.iterdir()] == ["loss.png"]


def test_the_same_curves_become_the_same_bytes(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"Software" not in (tmp_path / "a.png").read_bytes()


def test_more_curves_than_colours_and_a_single_point_can_be_drawn(tmp_path: Path) -> None:
    draw(tmp_path / "many.png", {f"curve {index}": [(1, index)] for index in range(3 * len(COLOURS))})
    with Image.open(tmp_path / "many.png") as picture:
        assert picture.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("curves", "options", "match"),
    [
        ({}, {}, "no curves to draw"),
        ({"a": [(0, 1)], "b": []}, {}, "no points to draw of b"),
        ({"a": [(0, 1)]}, {"band": {"b": ([0], [1])}}, "a band around b, which is no curve; those are a"),
        ({"a": [(0, 1)]}, {"band": {"a": ([0], [1, 2])}}, "the band of a has 1 and 2 ends for 1 points"),
        ({"a": [(0, 1), (1, 0)]}, {"log_y": True}, "a has the value 0, which a logarithmic axis cannot show"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_nothing_is_written(
    tmp_path: Path, curves: dict[str, Curve], options: dict[str, bool | dict[str, Band]], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        draw(tmp_path / "a.png", curves, **options)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"a\.png cannot be written"):
        draw(tmp_path / "file" / "a.png")


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name=name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"needs matplotlib; install it with: pip install 'st4vla\[train\]'"):
        draw(tmp_path / "a.png")
