"""A0: where a robot should make contact, and which way the contact point then moves.

The paper is "A0: An Affordance-Aware Hierarchical Model for General Robotic Manipulation" (arXiv 2504.12636).

A record is a JSON file with ``waypoints2d`` (one x, y a frame), ``cam_highs`` (one picture a frame) and ``metadata``
with ``instructions`` and ``validRange`` {``start``, ``end``}. The two subsets that have it differ:

=====================  ==========================================  ====================================
subset                 ManiSkill                                   DROID
=====================  ==========================================  ====================================
files                  ``CLASS/label/out*.json``                   ``episode*.json``
pictures relative to   ``CLASS``                                   the subset's folder
waypoints              pixels                                      fractions of width and height
both lists begin at    frame ``validRange.start``                  frame 0
instructions           a text                                      a text, or a list that may hold blanks
=====================  ==========================================  ====================================

Verified: the table, from how the paper's training code reads these files; no published record was at hand. From there
too: ``metadata.is_valid`` of DROID, ``train_test_split.json`` (DROID also ``train_test_split_droid.json``) with lists
of files, and five waypoints to predict. Assumed: that ``validRange.end`` is inclusive (a list that ends earlier is
taken as it is), and that the first valid waypoint is where contact is made, as the paper's contact point before its
trajectory. No record carries a region, so `Task.AFFORDANCE_REGION` has no samples from here. The HOI4D subset, which
has another form and whose pictures are published elsewhere, is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.pictures import Pictures
from st4vla.training.grounding.questions import WORDINGS, ask, choose
from st4vla.training.grounding.records import Converted, Options, attempt, read_source
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn

MANISKILL, DROID = "*/label/out*.json", "episode*.json"
SPLIT_FILES = ("train_test_split.json", "train_test_split_droid.json")
#: Waypoints of a trajectory, as many as A0 predicts.
WAYPOINTS = 5

Point = tuple[float, float]


class _Range(msgspec.Struct):
    start: int
    end: int


class _Metadata(msgspec.Struct, rename={"valid_range": "validRange"}):
    instructions: str | list[str | None]
    valid_range: _Range
    is_valid: bool = True


class _Episode(msgspec.Struct):
    metadata: _Metadata
    waypoints2d: list[Any]
    cam_highs: list[str]


def convert_a0(source: Path, options: Options) -> Iterator[Converted]:
    """Yield a `Task.AFFORDANCE_POINT` and a `Task.TRAJECTORY` sample for each episode, on its first valid frame.

    Args:
        source: Folder of the ManiSkill subset or of a DROID subset.
        options: `images` replaces `source` for pictures; splits are those of the subset's own split file.

    Raises:
        DatasetError: The folder holds neither subset, or there is no such split.
    """
    maniskill = sorted(source.glob(MANISKILL))
    paths = maniskill or sorted(source.glob(DROID))
    if not paths:
        msg = f"{source} holds neither {MANISKILL} (ManiSkill) nor {DROID} (DROID); name the folder of one subset"
        raise DatasetError(msg)
    wanted = None if options.split is None else _split(source, options.split)
    pictures = Pictures(options.images or source)
    for path in paths:
        record = path.relative_to(source).as_posix()
        if wanted is None or record in wanted:
            make = partial(_samples, path, record, pictures, options.seed, in_pixels=bool(maniskill))
            yield from attempt(path, record, make)


def _samples(path: Path, record: str, pictures: Pictures, seed: int, *, in_pixels: bool) -> Iterator[GroundingSample]:
    """Make the samples of one episode; ManiSkill's waypoints are `in_pixels`."""
    episode = msgspec.json.decode(read_source(path, "an A0 episode"), type=_Episode)
    if not episode.metadata.is_valid:
        return
    valid = episode.metadata.valid_range
    first = 0 if in_pixels else valid.start
    points = _flat(episode.waypoints2d)[first : first + valid.end - valid.start + 1]
    if valid.start < 0 or len(points) < 2 or first >= len(episode.cam_highs):
        msg = (
            f"validRange {valid.start} to {valid.end} leaves {len(points)} of {len(episode.waypoints2d)} waypoints and "
            f"{len(episode.cam_highs)} pictures; at least 2 waypoints and the first one's picture are needed"
        )
        raise ValueError(msg)
    folder = f"{record.split('/', maxsplit=1)[0]}/" if in_pixels else ""
    name = pictures.require(folder + episode.cam_highs[first])
    size = pictures.size(name)
    scale = (1, 1) if in_pixels else size
    way = tuple((x * scale[0], y * scale[1]) for x, y in _thinned(points))
    said = episode.metadata.instructions
    texts = [said] if isinstance(said, str) else [text for text in said if text and text.strip()]
    text = choose(texts, record, seed=seed).strip()
    for task, where in ((Task.AFFORDANCE_POINT, way[:1]), (Task.TRAJECTORY, way)):
        identity = f"{record}-{task.value}"
        question = ask(WORDINGS[task], identity, seed=seed, instruction=text)
        turn = Turn(question, targets=(Target(text, points=where),))
        yield GroundingSample(identity, task, (name,), size, (turn,))


def _flat(waypoints: list[Any]) -> list[Point]:
    """Read waypoints as pairs; the published code also takes them with a dimension of one in between."""
    try:
        return msgspec.convert(waypoints, list[Point])
    except msgspec.ValidationError:
        return [pair for group in msgspec.convert(waypoints, list[list[Point]]) for pair in group]


def _thinned(points: list[Point]) -> list[Point]:
    """Return `WAYPOINTS` of the points, evenly spaced in time, with the first and the last; all, if they are fewer."""
    last = len(points) - 1
    indices = sorted({round(step * last / (WAYPOINTS - 1)) for step in range(WAYPOINTS)})
    return [points[index] for index in indices]


def _split(source: Path, name: str) -> set[str]:
    """Return a split's files relative to the folder; its authors' file may hold paths of their own machine."""
    path = next((source / file for file in SPLIT_FILES if (source / file).is_file()), source / SPLIT_FILES[0])
    data = read_source(path, "A0's lists of files by split")
    try:
        splits = msgspec.json.decode(data, type=dict[str, list[str]])
    except msgspec.MsgspecError as error:
        msg = f"{path} is no list of files by split: {error}"
        raise DatasetError(msg) from error
    if name not in splits:
        msg = f"{path} has no split {name!r}; it has {', '.join(sorted(splits))}"
        raise DatasetError(msg)
    parts = [file.replace("\\", "/").split("/") for file in splits[name]]
    return {"/".join(part[-3:] if "label" in part[-2:-1] else part[-1:]) for part in parts}
