"""RefCOCO, RefCOCO+ and RefCOCOg: phrases for things in COCO's photographs.

A folder holds ``instances.json`` (COCO: images, annotations with ``bbox`` [x, y, w, h] in pixels) and the referring
expressions, a pickle written by Python 2: ``refs(unc).p``, ``refs(google).p`` or ``refs(umd).p``, a list of dicts with
``ref_id``, ``ann_id``, ``image_id``, ``split``, ``file_name``, ``category_id``, ``sent_ids`` and ``sentences``, each
sentence with ``sent_id``, ``sent``, ``raw`` and ``tokens``. These are the names that the data set's own loader reads.
A reference's ``file_name`` carries the annotation's number at its end; the picture's true name is in
``instances.json``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.pictures import Pictures
from st4vla.training.grounding.questions import WORDINGS, ask, with_article
from st4vla.training.grounding.records import Converted, Options, attempt, box_inside, centre, read_source
from st4vla.training.grounding.restricted_pickle import load_plain
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn

INSTANCES = "instances.json"
REFERENCES = "refs(*).p"


class _Sentence(msgspec.Struct):
    sent_id: int
    sent: str


class _Reference(msgspec.Struct):
    ref_id: int
    ann_id: int
    image_id: int
    sentences: list[_Sentence]
    split: str = ""


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int
    height: int


class _Annotation(msgspec.Struct):
    id: int
    bbox: list[float]


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]


def convert_refcoco(source: Path, options: Options) -> Iterator[Converted]:
    """Yield a `Task.BOX` sample for each sentence, and with `Options.points` a `Task.POINT` sample after it.

    Args:
        source: The folder, where it holds one file of references, or that file.
        options: `images` is COCO's folder ``train2014``; splits are train, val, and testA, testB or test.

    Raises:
        DatasetError: A file is missing or is not what it should be, or has no such split.
    """
    path = _references_path(source)
    references = load_plain(read_source(path, "the pickle of a RefCOCO data set"), path)
    if not isinstance(references, list):
        msg = f"{path} holds a {type(references).__name__}; it should hold a list of references"
        raise DatasetError(msg)
    splits = sorted({str(item.get("split")) for item in references if isinstance(item, dict)})
    if options.split is not None and options.split not in splits:
        msg = f"{path} has no split {options.split!r}; it has {', '.join(splits)}"
        raise DatasetError(msg)
    instances = _read_instances(path.with_name(INSTANCES))
    images = {image.id: image for image in instances.images}
    boxes = {annotation.id: annotation.bbox for annotation in instances.annotations}
    pictures = Pictures(options.images or path.parent)

    def samples(item: Any) -> Iterator[GroundingSample]:
        reference = msgspec.convert(item, _Reference)
        image, (x, y, width, height) = _found(reference, images, boxes)
        name, size = pictures.require(image.file_name), (image.width, image.height)
        box = box_inside((x, y, x + width, y + height), size)
        tasks = (Task.BOX, Task.POINT) if options.points else (Task.BOX,)
        for sentence, task in itertools.product(reference.sentences, tasks):
            label = sentence.sent.strip()
            identity = f"{reference.ref_id}-{sentence.sent_id}-{task.value}"
            question = ask(WORDINGS[task], identity, seed=options.seed, thing=with_article(label))
            target = Target(label, box=box) if task is Task.BOX else Target(label, points=(centre(box),))
            yield GroundingSample(identity, task, (name,), size, (Turn(question, targets=(target,)),))

    for index, item in enumerate(references):
        if options.split is None or not isinstance(item, dict) or item.get("split") == options.split:
            record = item.get("ref_id", f"at index {index}") if isinstance(item, dict) else f"at index {index}"
            yield from attempt(path, str(record), partial(samples, item))


def _references_path(source: Path) -> Path:
    if not source.is_dir():
        return source
    found = sorted(source.glob(REFERENCES))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        msg = f"{source} should hold one file {REFERENCES}; it has {names}; name the file itself"
        raise DatasetError(msg)
    return found[0]


def _read_instances(path: Path) -> _Instances:
    try:
        return msgspec.json.decode(read_source(path, "COCO's instances beside the references"), type=_Instances)
    except msgspec.MsgspecError as error:
        msg = f"{path} is no COCO annotation file: {error}"
        raise DatasetError(msg) from error


def _found(
    reference: _Reference, images: dict[int, _Image], boxes: dict[int, list[float]]
) -> tuple[_Image, list[float]]:
    """Look up what a reference points at."""
    if reference.image_id not in images:
        msg = f"{INSTANCES} has no image {reference.image_id}"
        raise DatasetError(msg)
    box = boxes.get(reference.ann_id)
    if box is None or len(box) != 4:
        msg = f"{INSTANCES} has no annotation {reference.ann_id} with a box of 4 numbers"
        raise DatasetError(msg)
    return images[reference.image_id], box
