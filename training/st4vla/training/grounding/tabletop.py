"""Our own tabletop: true boxes from the simulator, beside a LeRobot v2.1 data set.

``annotations/boxes.jsonl`` has one line a picture: ``image`` (relative to the data set's folder), ``view``, ``width``,
``height``, ``boxes`` (x1, y1, x2, y2 by object, far edges exclusive), ``split``, ``episode_index`` (null for a scene of
its own) and ``frame_index``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from st4vla.training.grounding.pictures import Pictures
from st4vla.training.grounding.questions import WORDINGS, ask, choose, with_article
from st4vla.training.grounding.records import Box, Converted, Options, attempt, centre, read_lines
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn

ANNOTATIONS = "annotations/boxes.jsonl"
#: The camera from which relations are asked: it looks at the table from the front and does not move.
RELATION_VIEW = "agentview"
#: Centres that are closer than this along both axes of the picture are next to each other, not left or behind.
MIN_GAP_PX = 8


class _Picture(msgspec.Struct):
    image: str
    view: str
    width: int
    height: int
    boxes: dict[str, Box]
    split: str | None = None


def convert_tabletop(source: Path, options: Options) -> Iterator[Converted]:
    """Yield a `Task.BOX`, a `Task.POINT` and a `Task.RELATION` sample of each picture.

    Each asks for one thing, or pair, after the other: reading the picture costs more than the questions do.

    Args:
        source: Folder of the data set.
        options: `images` replaces the folder; splits are train and val.

    Raises:
        DatasetError: The folder has no annotations.
    """
    path = source / ANNOTATIONS
    pictures = Pictures(options.images or source)
    for place, line in read_lines(path, "the true boxes of a data set that `st4vla record` wrote"):
        yield from attempt(path, place, partial(_samples, line, pictures, options))


def _samples(line: bytes, pictures: Pictures, options: Options) -> Iterator[GroundingSample]:
    picture = msgspec.json.decode(line, type=_Picture)
    if options.split is not None and picture.split != options.split:
        return
    name, size = pictures.require(picture.image), (picture.width, picture.height)
    stem, seed = Path(name).stem, options.seed
    labels = sorted(picture.boxes, key=lambda label: choose(range(2**32), f"place of {stem}-{label}", seed=seed))
    for task, targets in (
        (Task.BOX, [Target(label, box=picture.boxes[label]) for label in labels]),
        (Task.POINT, [Target(label, points=(centre(picture.boxes[label]),)) for label in labels]),
    ):
        turns = tuple(
            Turn(
                ask(WORDINGS[task], f"{stem}-{target.label}-{task.value}", seed=seed, thing=with_article(target.label)),
                targets=(target,),
            )
            for target in targets
        )
        if turns:
            yield GroundingSample(f"{stem}-{task.value}", task, (name,), size, turns)
    turns = tuple(_relations(picture, stem, seed)) if picture.view == RELATION_VIEW else ()
    if turns:
        yield GroundingSample(f"{stem}-{Task.RELATION.value}", Task.RELATION, (name,), size, turns)


def _relations(picture: _Picture, stem: str, seed: int) -> Iterator[Turn]:
    for pair in itertools.combinations(sorted(picture.boxes), 2):
        identity = f"{stem}-{'-'.join(pair)}-{Task.RELATION.value}"
        # Either of a pair may come first, or "left" would be the answer for what comes first in the alphabet.
        first, second = choose((pair, pair[::-1]), f"order of {identity}", seed=seed)
        found = relation(picture.boxes[first], picture.boxes[second])
        if found is not None:
            options_text, answer = found
            question = ask(
                WORDINGS[Task.RELATION], identity, seed=seed, first=first, second=second, options=options_text
            )
            yield Turn(question, answer)


def relation(first: Box, second: Box) -> tuple[str, str] | None:
    """Say how a box lies to another, along the axis of the picture on which their centres are further apart.

    The camera looks down at the table, so what is lower in the picture is nearer, in front.

    Returns:
        The two possible relations in words, and the one that holds; None when the centres are too close to tell.
    """
    (x1, y1), (x2, y2) = centre(first), centre(second)
    if max(abs(x1 - x2), abs(y1 - y2)) < MIN_GAP_PX:
        return None
    if abs(x1 - x2) >= abs(y1 - y2):
        return "left or right of", "left" if x1 < x2 else "right"
    return "in front of or behind", "in front" if y1 > y2 else "behind"
