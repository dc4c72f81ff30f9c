"""Tests of RefCOCO on two photographs in its published form."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.samples import Task

Run = Callable[..., Any]


def reference(number: int, split: str, *sentences: str, ann_id: int = 11, image_id: int = 1) -> dict[str, Any]:
    sent_ids = [10 * number + index for index in range(len(sentences))]
    return {
        "ref_id": number,
        "ann_id": ann_id,
        "image_id": image_id,
        "split": split,
        "file_name": f"COCO_train2014_{image_id:012d}_{ann_id}.jpg",
        "category_id": 1,
        "sent_ids": sent_ids,
        "sentences": [
            {"sent": text, "raw": text.title(), "tokens": text.split(), "sent_id": sent_id}
            for text, sent_id in zip(sentences, sent_ids, strict=True)
        ],
    }


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    folder = tmp_path / "refcoco"
    picture(tmp_path / "train2014" / "COCO_train2014_000000000001.jpg", (640, 480))
    instances = {
        "info": {},
        "images": [
            {"id": image_id, "file_name": f"COCO_train2014_{image_id:012d}.jpg", "width": 640, "height": 480}
            for image_id in (1, 2)
        ],
        "annotations": [
            {"id": 11, "image_id": 1, "category_id": 1, "bbox": [600.5, 100, 39.51, 50], "segmentation": [[1, 2]]},
            {"id": 12, "image_id": 1, "category_id": 1, "bbox": [700, 100, 50, 50]},
            {"id": 13, "image_id": 1, "category_id": 1, "bbox": [1, 2]},
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    folder.mkdir()
    (folder / "instances.json").write_text(json.dumps(instances))
    write(folder, reference(1, "train", "left man", "the man in red"), reference(2, "testA", "woman"))
    return folder


def write(folder: Path, *references: Any) -> None:
    (folder / "refs(unc).p").write_bytes(pickle.dumps(list(references), protocol=2))


def test_each_sentence_becomes_a_question_for_the_same_box(source: Path, run: Run) -> None:
    samples, bad = run("refcoco", source, images=source.parent / "train2014", split="train")
    assert not bad
    assert [sample.turns[0].targets[0].label for sample in samples] == ["left man", "the man in red"]
    assert all(sample.task is Task.BOX and sample.size == (640, 480) for sample in samples)
    assert samples[0].images == ("COCO_train2014_000000000001.jpg",)
    # The box hangs a hundredth of a pixel over the edge, as published ones do.
    assert samples[0].turns[0].targets[0].box == pytest.approx((600.5, 100, 640, 150))
    assert "the left man" in samples[0].turns[0].question
    assert len({sample.id for sample in samples}) == 2


def test_points_are_the_centres_of_the_boxes(source: Path, run: Run) -> None:
    samples, _ = run("refcoco", source, images=source.parent / "train2014", points=True)
    assert [sample.task for sample in samples] == [Task.BOX, Task.POINT] * 3
    assert samples[1].turns[0].targets[0].points[0] == pytest.approx((620.25, 125))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (reference(7, "train", "cat", image_id=2), "000000000002.jpg is missing"),
        (reference(7, "train", "cat", image_id=3), "has no image 3"),
        (reference(7, "train", "cat", ann_id=99), "has no annotation 99"),
        (reference(7, "train", "cat", ann_id=13), "has no annotation 13 with a box of 4 numbers"),
        (reference(7, "train", "cat", ann_id=12), "leaves its picture of 640 x 480"),
        (reference(7, "train", "dog", " "), "blank"),
        ({"ref_id": 7, "split": "train"}, "missing required field `ann_id`"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(source: Path, run: Run, record: Any, reason: str) -> None:
    write(source, record, reference(1, "train", "man"))
    samples, bad = run("refcoco", source, images=source.parent / "train2014", split="train")
    assert [sample.id for sample in samples] == ["1-10-box"]
    (one,) = bad
    assert str(one).startswith(f"{source / 'refs(unc).p'}, record 7: ")
    assert reason in one.reason


def test_a_reference_that_is_no_dict_is_named_by_its_place(source: Path, run: Run) -> None:
    write(source, 5)
    assert [one.record for one in run("refcoco", source)[1]] == ["at index 0"]


def test_an_unknown_split_is_answered_with_the_known_ones(source: Path, run: Run) -> None:
    with pytest.raises(DatasetError, match="has no split 'val'; it has testA, train"):
        run("refcoco", source, split="val")


def test_a_folder_with_two_files_of_references_asks_for_one(source: Path, run: Run) -> None:
    (source / "refs(google).p").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"refs\(google\).p, refs\(unc\).p; name the file itself"):
        run("refcoco", source)
    assert run("refcoco", source / "refs(unc).p", images=source.parent / "train2014")[0]


def test_files_that_are_not_what_they_should_be_are_refused(source: Path, run: Run) -> None:
    (source / "instances.json").write_text("{}")
    with pytest.raises(DatasetError, match="is no COCO annotation file"):
        run("refcoco", source)
    (source / "instances.json").unlink()
    with pytest.raises(DatasetError, match=r"instances\.json cannot be read"):
        run("refcoco", source)
    (source / "refs(unc).p").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(DatasetError, match="holds a dict"):
        run("refcoco", source)
