"""Tests of our own tabletop's true boxes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.samples import Task
from st4vla.training.grounding.tabletop import relation

Run = Callable[..., Any]

BOXES = {"red cube": [10, 100, 30, 120], "blue can": [100, 100, 120, 130], "green ball": [104, 20, 116, 32]}


def line(name: str = "episode_000000_frame_000000_agentview", **changes: Any) -> dict[str, Any]:
    return {
        "episode_index": 0,
        "frame_index": 0,
        "split": "train",
        "image": f"annotations/images/{name}.png",
        "view": name.rsplit("_", 1)[1],
        "width": 224,
        "height": 224,
        "boxes": BOXES,
    } | changes


def write(source: Path, *lines: Any) -> Path:
    path = source / "annotations/boxes.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


@pytest.fixture
def source(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    for name in ("episode_000000_frame_000000_agentview", "scene_000000_frame_000000_wrist"):
        picture(tmp_path / f"annotations/images/{name}.png", (224, 224))
    write(tmp_path, line(), line("scene_000000_frame_000000_wrist", episode_index=None, split="val"))
    return tmp_path


def test_a_picture_asks_for_a_box_and_a_point_of_each_object_and_a_relation_of_each_pair(
    source: Path, run: Run
) -> None:
    samples, bad = run("tabletop", source, split="train")
    assert not bad
    assert [sample.task for sample in samples] == [Task.BOX, Task.POINT, Task.RELATION]
    box, point, relations = samples
    assert box.images == ("annotations/images/episode_000000_frame_000000_agentview.png",)
    boxes = {turn.targets[0].label: turn for turn in box.turns}
    assert boxes.keys() == BOXES.keys()
    assert "the red cube" in boxes["red cube"].question
    assert boxes["red cube"].targets[0].box == (10, 100, 30, 120)
    assert {turn.targets[0].points for turn in point.turns} == {((20, 110),), ((110, 115),), ((110, 26),)}
    assert len(relations.turns) == 3
    assert len({sample.id for sample in samples}) == 3


def test_any_of_the_objects_is_asked_for_first(source: Path, run: Run) -> None:
    first = set()
    for seed in range(20):
        samples, _ = run("tabletop", source, split="train", seed=seed)
        first.add(samples[0].turns[0].targets[0].label)
    assert first == BOXES.keys()


def test_relations_are_asked_of_the_fixed_camera_only(source: Path, run: Run) -> None:
    samples, _ = run("tabletop", source, split="val")
    assert {sample.task for sample in samples} == {Task.BOX, Task.POINT}


def test_the_answer_of_a_relation_is_one_of_those_in_the_question_and_true(source: Path, run: Run) -> None:
    samples, _ = run("tabletop", source, split="train")
    turns = [turn for sample in samples if sample.task is Task.RELATION for turn in sample.turns]
    assert len(turns) == 3
    for turn in turns:
        question, answer = turn.question, turn.answer
        assert answer in question
        first, second = sorted(BOXES, key=question.rfind)[-2:]
        if question.startswith("Look"):
            first, second = second, next(name for name in BOXES if f"at the {name}" in question)
        assert relation(tuple(BOXES[first]), tuple(BOXES[second]))[1] == answer  # type: ignore[arg-type,index]


def test_either_of_a_pair_may_come_first(source: Path, run: Run) -> None:
    answers = set()
    for seed in range(20):
        samples, _ = run("tabletop", source, split="train", seed=seed)
        answers |= {turn.answer for sample in samples if sample.task is Task.RELATION for turn in sample.turns}
    assert answers == {"left", "right", "in front", "behind"}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 0, 10, 10), (50, 5, 60, 15), ("left or right of", "left")),
        ((50, 5, 60, 15), (0, 0, 10, 10), ("left or right of", "right")),
        ((0, 50, 10, 60), (5, 0, 15, 10), ("in front of or behind", "in front")),
        ((5, 0, 15, 10), (0, 50, 10, 60), ("in front of or behind", "behind")),
        ((0, 0, 10, 10), (7, 7, 17, 17), None),
    ],
)
def test_a_relation_follows_the_axis_on_which_centres_are_further_apart(
    first: Any, second: Any, expected: tuple[str, str] | None
) -> None:
    assert relation(first, second) == expected


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"image": "annotations/images/none.png"}, "none.png is missing"),
        ({"boxes": {"cube": [0, 0, 300, 10]}}, "leaves its picture of 224 x 224"),
        ({"boxes": {"cube": [5, 0, 5, 10]}}, "x1 < x2"),
        ({"boxes": {"cube": [5, 0, 5]}}, "length 4"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(source: Path, run: Run, wrong: dict[str, Any], reason: str) -> None:
    path = write(source, line(boxes={}), line(**wrong))
    samples, bad = run("tabletop", source)
    assert not samples
    (one,) = bad
    assert str(one).startswith(f"{path}, record on line 2: ")
    assert reason in one.reason


def test_a_folder_without_annotations_is_refused(tmp_path: Path, run: Run) -> None:
    with pytest.raises(DatasetError, match="the true boxes of a data set that `st4vla record` wrote"):
        run("tabletop", tmp_path)
