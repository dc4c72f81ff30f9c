"""The one question-answer format that every grounding data set is converted to.

A data set is a file of JSON lines, one `GroundingSample` a line, beside its pictures. Places are kept in pixels of the
picture as it lies on disk; they become text, in the pixels that the model sees, only when the picture has its final
size.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from st4vla.contracts.errors import DatasetError
from st4vla.contracts.files import replaced_file


class Task(str, enum.Enum):
    """What a sample teaches."""

    BOX = "box"
    AFFORDANCE_POINT = "affordance_point"
    AFFORDANCE_REGION = "affordance_region"
    TRAJECTORY = "trajectory"
    POINT = "point"
    RELATION = "relation"
    GENERAL = "general"


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A thing in a picture.

    Attributes:
        label: What it is called.
        box: x1, y1, x2, y2 in pixels from the picture's top left corner, the far edges exclusive.
        points: x, y in pixels: one for a point, several in order for a trajectory.
    """

    label: str
    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        """Refuse a target that is nowhere, in two ways at once, or inside out."""
        if (self.box is None) == (not self.points):
            msg = f"target {self.label!r} needs a box or points, and not both"
            raise ValueError(msg)
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            msg = f"target {self.label!r} has the box {self.box}; x1 < x2 and y1 < y2 must hold"
            raise ValueError(msg)


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A question and its answer: a text, or targets that are written out in the model's pixels."""

    question: str
    answer: str = ""
    targets: tuple[Target, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a turn without a question, or without exactly one kind of answer."""
        if not self.question.strip() or bool(self.answer.strip()) == bool(self.targets):
            msg = f"a turn needs a question and either an answer or targets; got {self.question!r}, {self.answer!r}"
            raise ValueError(msg)


class GroundingSample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pictures and a conversation about them.

    Attributes:
        id: Names the record in its data set, for messages.
        task: What it teaches.
        images: Paths relative to the data set's picture folder; targets lie in the first one.
        size: Width and height of the first picture, in pixels.
        turns: The conversation.
    """

    id: str
    task: Task
    images: tuple[str, ...]
    size: tuple[int, int]
    turns: tuple[Turn, ...]

    def __post_init__(self) -> None:
        """Refuse a sample without pictures or turns, or with a target outside of its picture."""
        if not self.images or not self.turns:
            msg = f"sample {self.id!r} needs at least one image and one turn"
            raise ValueError(msg)
        width, height = self.size
        for target in (target for turn in self.turns for target in turn.targets):
            corners = target.points if target.box is None else (target.box[:2], target.box[2:])
            if not all(0 <= x <= width and 0 <= y <= height for x, y in corners):
                msg = f"sample {self.id!r}: target {target.label!r} leaves its picture of {width} x {height} pixels"
                raise ValueError(msg)


def write_samples(path: Path, samples: Iterable[GroundingSample]) -> int:
    """Write samples as JSON lines and return how many there were; an unfinished file is never left under `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    encoder = msgspec.json.Encoder()
    with replaced_file(path) as temporary, temporary.open("wb") as stream:
        for sample in samples:
            stream.write(encoder.encode(sample) + b"\n")
            count += 1
    return count


def read_samples(path: Path) -> Iterator[GroundingSample]:
    """Yield the samples of a file.

    Raises:
        DatasetError: The file is not there, or a line is no sample; the message names file and line.
    """
    decoder = msgspec.json.Decoder(GroundingSample)
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    yield decoder.decode(line)
                except (msgspec.DecodeError, ValueError) as error:
                    msg = f"{path}, line {number}: {error}; convert the data set again"
                    raise DatasetError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}; name a file that `st4vla data convert` wrote"
        raise DatasetError(msg) from error
