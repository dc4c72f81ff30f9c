"""What every converter shares: its options, and what becomes of a record that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.samples import GroundingSample

Box: TypeAlias = tuple[float, float, float, float]

#: A box of which less than this share lies inside of its picture belongs to another picture, or is of another form.
INSIDE_SHARE = 0.9


@dataclass(frozen=True)
class Options:
    """What a conversion may choose.

    Attributes:
        images: Folder of the pictures; None for where the data set has them itself.
        split: Part of the data set to take, in its own name for it; None for all.
        seed: Chooses among the wordings of a question.
        points: Whether data sets of boxes also give a question for the centre of each box.
    """

    images: Path | None = None
    split: str | None = None
    seed: int = 0
    points: bool = False


@dataclass(frozen=True)
class Unreadable:
    """A record that gave no sample.

    Attributes:
        file: Where it stands.
        record: What names it there.
        reason: What is wrong with it.
    """

    file: Path
    record: str
    reason: str

    def __str__(self) -> str:
        """Name file, record and reason in one line."""
        return f"{self.file}, record {self.record}: {self.reason}"


Converted: TypeAlias = GroundingSample | Unreadable


def attempt(file: Path, record: str, make: Callable[[], Iterable[GroundingSample]]) -> Iterator[Converted]:
    """Yield the samples of one record, or one `Unreadable` when any of them cannot be made.

    Args:
        file: Where the record stands.
        record: What names it there.
        make: Makes its samples; raises ValueError, a `msgspec` error or `DatasetError` when the record is wrong.
    """
    try:
        samples = list(make())
    except (ValueError, msgspec.MsgspecError, DatasetError) as error:
        yield Unreadable(file, record, str(error))
    else:
        yield from samples


def read_lines(path: Path, what: str) -> Iterator[tuple[str, bytes]]:
    """Yield the lines of a file that are not blank, each with what names it.

    Args:
        path: The file.
        what: What it should be, for the message.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            yield from ((f"on line {number}", line) for number, line in enumerate(stream, start=1) if line.strip())
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}; it should be {what}"
        raise DatasetError(msg) from error


def read_source(path: Path, what: str) -> bytes:
    """Return a file's bytes.

    Args:
        path: The file.
        what: What it should be, for the message.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}; it should be {what}"
        raise DatasetError(msg) from error


def box_inside(box: Iterable[float], size: tuple[int, int]) -> Box:
    """Cut off what hangs over a picture's edge: published boxes overhang by rounding.

    Args:
        box: x1, y1, x2, y2 in pixels.
        size: Width and height of the picture.

    Raises:
        ValueError: These are not four numbers in order, or less than `INSIDE_SHARE` of the box is inside.
    """
    corners = tuple(box)
    if len(corners) != 4:
        msg = f"the box {corners} has {len(corners)} numbers; it needs 4"
        raise ValueError(msg)
    x1, y1, x2, y2 = corners
    if not (x1 < x2 and y1 < y2):
        msg = f"the box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) is empty"
        raise ValueError(msg)
    left, right = max(x1, 0.0), min(x2, float(size[0]))
    top, bottom = max(y1, 0.0), min(y2, float(size[1]))
    if max(right - left, 0) * max(bottom - top, 0) < INSIDE_SHARE * (x2 - x1) * (y2 - y1):
        msg = f"the box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) leaves its picture of {size[0]} x {size[1]} pixels"
        raise ValueError(msg)
    return left, top, right, bottom


def centre(box: Box) -> tuple[float, float]:
    """Return the centre of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
