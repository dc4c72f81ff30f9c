"""A run's metrics as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from st4vla.contracts.errors import DatasetError
from st4vla.training.evaluation.plots import plot_curves
from st4vla.training.loop.trainer import METRICS

#: Figures that share a picture: its file, its title, its vertical axis, whether that is logarithmic, and their names.
PICTURES: Sequence[tuple[str, str, str, bool, tuple[str, ...]]] = (
    (
        "loss.png",
        "Loss",
        "loss, mean of 1 % of the run",
        True,
        ("loss", "action", "grounding", "naming", "placing", "finding"),
    ),
    ("accuracy.png", "Held-out boxes found", "share with IoU above 0.5", False, ("held_out_boxes",)),
    (
        "error.png",
        "Held-out action error, relative to the mean chunk's",
        "ratio",
        True,
        ("held_out_squared_ratio", "held_out_absolute_ratio"),
    ),
    (
        "similarity.png",
        "Similarity of the gradients of actions and of grounding",
        "similarity, cosine",
        False,
        ("similarity", "similarity_chance", "gradient_cosine"),
    ),
)
#: Losses of single steps are a cloud; so many points are shown of a curve.
POINTS = 100


def plot_run(run: Path, out: Path) -> list[Path]:
    """Draw what a run's metrics hold, and return the pictures.

    Args:
        run: Folder of a run.
        out: Folder for the pictures.

    Raises:
        DatasetError: There are no metrics, or a line is none.
        MissingExtraError: matplotlib is not installed.
    """
    curves = read_curves(run)
    drawn = []
    for file, title, axis, logarithmic, names in PICTURES:
        shown = {name: thinned(curves[name]) for name in names if name in curves}
        # One loss alone is its own sum.
        if shown.keys() - {"loss"} and len(shown) == 2 and "loss" in shown:
            del shown["loss"]
        if shown:
            plot_curves(out / file, shown, x="steps", y=axis, title=title, log_y=logarithmic)
            drawn.append(out / file)
    return drawn


def read_curves(run: Path) -> Mapping[str, list[tuple[float, float]]]:
    """Return name of a figure to (steps done, value).

    Raises:
        DatasetError: There are no metrics, or a line is none.
    """
    path = run / METRICS
    curves: dict[str, list[tuple[float, float]]] = {}
    number = 0
    try:
        for line in path.read_bytes().splitlines():
            number += 1
            values = msgspec.json.decode(line, type=dict[str, float])
            for name, value in values.items():
                curves.setdefault(name, []).append((values["step"] + 1, value))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}; name the folder of a run"
        raise DatasetError(msg) from error
    except (msgspec.DecodeError, KeyError) as error:
        msg = f"{path}, line {number}: {error}; run the training again to go on, which mends the file"
        raise DatasetError(msg) from error
    return curves


def thinned(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a curve of at most `POINTS` points, each the mean of those that follow each other."""
    width = -(-len(curve) // POINTS)
    parts = [curve[first : first + width] for first in range(0, len(curve), width)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]
