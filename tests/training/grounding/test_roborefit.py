"""Tests of RoboRefIt on a few records in its published form."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.samples import Task

Run = Callable[..., Any]


def record(number: int, split: str = "train", **changes: Any) -> dict[str, Any]:
    return {
        "num": number,
        "text": "pick up the yellow pear",
        "bbox": [62, 147, 228, 329],
        "rgb_path": f"final_dataset\\{split}\\image\\{number:07d}.png",
        "depth_path": f"final_dataset\\{split}\\depth\\{number:07d}.png",
        "mask_path": f"final_dataset\\{split}\\mask\\{number:07d}\\0.png",
        "scene": "table",
        "class": "pear",
    } | changes


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    for split in ("train", "testA"):
        picture(tmp_path / "data/final_dataset" / split / "image/0000001.png", (640, 480))
        write(tmp_path / "data", split, record(1, split))
    return tmp_path / "data"


def write(source: Path, split: str, *records: Any) -> Path:
    path = source / "final_dataset" / split / f"roborefit_{split}.json"
    path.write_text(json.dumps(records))
    return path


def test_a_command_becomes_a_question_for_the_box_of_what_it_means(source: Path, run: Run) -> None:
    samples, bad = run("roborefit", source, split="train")
    assert not bad
    (sample,) = samples
    assert (sample.task, sample.size) == (Task.BOX, (640, 480))
    assert sample.images == ("final_dataset/train/image/0000001.png",)
    assert '"pick up the yellow pear"' in sample.turns[0].question
    assert sample.turns[0].targets[0].box == (62, 147, 228, 329)


@pytest.mark.parametrize("place", ["", "final_dataset", "final_dataset/testA/roborefit_testA.json"])
def test_the_source_may_be_any_of_its_folders_or_a_file(source: Path, run: Run, place: str) -> None:
    samples, bad = run("roborefit", source / place)
    assert not bad
    assert len(samples) == (1 if place.endswith("json") else 2)


def test_a_box_that_overhangs_a_little_is_cut_off(source: Path, run: Run) -> None:
    write(source, "train", record(1, bbox=[600, -2, 644, 200]))
    samples, _ = run("roborefit", source, split="train")
    assert samples[0].turns[0].targets[0].box == (600, 0, 640, 200)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"rgb_path": "final_dataset\\train\\image\\9.png"}, "is missing"),
        ({"rgb_path": "..\\secret.png"}, "lies outside of"),
        ({"rgb_path": "final_dataset/train/roborefit_train.json"}, "cannot be read"),
        ({"bbox": [1, 2, 3]}, "has 3 numbers"),
        ({"bbox": [9, 9, 9, 20]}, "is empty"),
        ({"bbox": [600, 0, 1200, 200]}, "leaves its picture"),
        ({"bbox": None}, "Expected `array`"),
        ({"text": " "}, "instruction to ask for is blank"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(source: Path, run: Run, wrong: dict[str, Any], reason: str) -> None:
    path = write(source, "train", record(1), record(1, **wrong), record(1))
    samples, bad = run("roborefit", source, split="train")
    assert len(samples) == 2
    (one,) = bad
    assert str(one).startswith(f"{path}, record at index 1: ")
    assert reason in one.reason


def test_what_is_no_roborefit_is_refused_with_what_it_should_be(source: Path, run: Run) -> None:
    with pytest.raises(DatasetError, match="no split 'val'; it has train, testA, testB"):
        run("roborefit", source, split="val")
    with pytest.raises(DatasetError, match="name the folder that holds final_dataset"):
        run("roborefit", source, split="testB")
    path = source / "final_dataset/train/roborefit_train.json"
    with pytest.raises(DatasetError, match="is not the file of split 'testA'"):
        run("roborefit", path, split="testA")
    path.write_text("{}")
    with pytest.raises(DatasetError, match="is no JSON list of RoboRefIt records"):
        run("roborefit", path)
