"""RoboRefIt: commands to a robot, and the box of the object that each is about, in cluttered indoor scenes.

Layout: ``final_dataset/{train,testA,testB}/roborefit_SPLIT.json``, a JSON list, with pictures below the same folders.

What of a record is verified, from the loader that its authors publish: ``text``; ``bbox`` as x1, y1, x2, y2 in pixels;
``rgb_path`` (beside ``depth_path`` and ``mask_path``) with backslashes, relative to the folder that holds
``final_dataset``. Other people's readers agree, and also find ``num``, ``class`` and ``scene``, which are not needed
here. Assumed: that the box's far edges are exclusive, as ours are; nothing published says so, and it is one pixel at
most. Some published boxes overhang their picture; they are cut off at its edge.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.pictures import Pictures
from st4vla.training.grounding.questions import BOX_FOR_INSTRUCTION, ask
from st4vla.training.grounding.records import Converted, Options, attempt, box_inside, read_source
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn

SPLITS = ("train", "testA", "testB")
FOLDER = "final_dataset"


class _Record(msgspec.Struct):
    text: str
    bbox: list[float]
    rgb_path: str


def convert_roborefit(source: Path, options: Options) -> Iterator[Converted]:
    """Yield a `Task.BOX` sample for each command.

    Args:
        source: The folder that holds ``final_dataset``, or one of the annotation files.
        options: `images` replaces the folder that holds ``final_dataset``; splits are `SPLITS`.

    Raises:
        DatasetError: There is no annotation file, one is not a list, or there is no such split.
    """
    for path in _annotation_paths(source, options.split):
        pictures = Pictures(options.images or _root(path))
        try:
            records = msgspec.json.decode(read_source(path, "a list of RoboRefIt records"), type=list[msgspec.Raw])
        except msgspec.MsgspecError as error:
            msg = f"{path} is no JSON list of RoboRefIt records: {error}"
            raise DatasetError(msg) from error
        for index, raw in enumerate(records):
            identity = f"{path.stem}-{index:06d}"
            yield from attempt(path, f"at index {index}", partial(_samples, identity, raw, pictures, options.seed))


def _samples(identity: str, raw: msgspec.Raw, pictures: Pictures, seed: int) -> Iterator[GroundingSample]:
    record = msgspec.json.decode(raw, type=_Record)
    size = pictures.size(record.rgb_path)
    target = Target(record.text.strip(), box=box_inside(record.bbox, size))
    question = ask(BOX_FOR_INSTRUCTION, identity, seed=seed, instruction=record.text)
    name = pictures.require(record.rgb_path)
    yield GroundingSample(identity, Task.BOX, (name,), size, (Turn(question, targets=(target,)),))


def _annotation_paths(source: Path, split: str | None) -> list[Path]:
    if split is not None and split not in SPLITS:
        msg = f"RoboRefIt has no split {split!r}; it has {', '.join(SPLITS)}"
        raise DatasetError(msg)
    if not source.is_dir():
        if split is not None and not source.stem.endswith(f"_{split}"):
            msg = f"{source} is not the file of split {split!r}; name the folder, or leave --split out"
            raise DatasetError(msg)
        return [source]
    wanted = SPLITS if split is None else (split,)
    roots = (source / FOLDER, source)
    found = [root / part / f"roborefit_{part}.json" for root, part in itertools.product(roots, wanted)]
    paths = [path for path in found if path.is_file()]
    if not paths:
        msg = f"{source} has no {FOLDER}/{wanted[0]}/roborefit_{wanted[0]}.json; name the folder that holds {FOLDER}"
        raise DatasetError(msg)
    return paths


def _root(path: Path) -> Path:
    """Return the folder that holds `FOLDER`, or the annotation's own when it lies elsewhere."""
    return next((parent.parent for parent in path.resolve().parents if parent.name == FOLDER), path.parent)
