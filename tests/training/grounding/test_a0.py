"""Tests of A0 on a few episodes in the form that its training code reads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.samples import Task

Run = Callable[..., Any]


def episode(count: int = 9, first: int = 3, **metadata: Any) -> dict[str, Any]:
    """Return a ManiSkill record: both lists begin at the first valid frame."""
    return {
        "metadata": {
            "validRange": {"start": first, "end": first + count - 1},
            "instructions": "stack the red cube",
        }
        | metadata,
        "waypoints2d": [[10 * step, 5 * step] for step in range(count)],
        "cam_highs": [f"image/episode_0/{first + step}.jpg" for step in range(count)],
    }


@pytest.fixture
def maniskill(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    picture(tmp_path / "maniskill/StackCube/image/episode_0/3.jpg", (320, 240))
    write(tmp_path / "maniskill/StackCube/label/out_0.json", episode())
    return tmp_path / "maniskill"


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def test_an_episode_gives_a_contact_point_and_a_trajectory(maniskill: Path, run: Run) -> None:
    samples, bad = run("a0", maniskill)
    assert not bad
    point, path = samples
    assert (point.task, path.task) == (Task.AFFORDANCE_POINT, Task.TRAJECTORY)
    assert point.images == ("StackCube/image/episode_0/3.jpg",)
    assert point.size == (320, 240)
    assert point.turns[0].targets[0].points == ((0, 0),)
    assert path.turns[0].targets[0].points == ((0, 0), (20, 10), (40, 20), (60, 30), (80, 40))
    assert "stack the red cube" in path.turns[0].question


def test_waypoints_with_a_dimension_in_between_are_read_too(maniskill: Path, run: Run) -> None:
    record = episode()
    record["waypoints2d"] = [[pair] for pair in record["waypoints2d"]]
    write(maniskill / "StackCube/label/out_0.json", record)
    samples, _ = run("a0", maniskill)
    assert samples[1].turns[0].targets[0].points[-1] == (80, 40)


def test_droid_counts_frames_from_zero_and_waypoints_in_fractions(
    tmp_path: Path, picture: Callable[..., Path], run: Run
) -> None:
    picture(tmp_path / "rgb/2.png", (200, 100))
    record = {
        "metadata": {"validRange": {"start": 2, "end": 4}, "instructions": ["", "open the drawer", None]},
        "waypoints2d": [[0.0, 0.0], [0.1, 0.1], [0.5, 0.5], [0.6, 0.5], [1.0, 0.5], [0.0, 0.0]],
        "cam_highs": [f"rgb/{frame}.png" for frame in range(6)],
    }
    write(tmp_path / "episode_7.json", record)
    write(tmp_path / "episode_8.json", record | {"metadata": record["metadata"] | {"is_valid": False}})
    samples, bad = run("a0", tmp_path)
    assert not bad
    assert samples[0].turns[0].targets[0].points == ((100, 50),)
    assert samples[1].turns[0].targets[0].points == ((100, 50), (120, 50), (200, 50))
    assert "open the drawer" in samples[0].turns[0].question


def test_a_split_takes_the_files_of_its_list(maniskill: Path, run: Run) -> None:
    write(maniskill / "StackCube/label/out_1.json", episode())
    write(
        maniskill / "train_test_split.json",
        {"train": ["/data/of/others/maniskill/StackCube/label/out_1.json"], "test": ["StackCube/label/out_0.json"]},
    )
    assert {sample.id[:24] for sample in run("a0", maniskill, split="train")[0]} == {"StackCube/label/out_1.js"}
    assert {sample.id[:24] for sample in run("a0", maniskill, split="test")[0]} == {"StackCube/label/out_0.js"}
    with pytest.raises(DatasetError, match="no split 'val'; it has test, train"):
        run("a0", maniskill, split="val")
    write(maniskill / "train_test_split.json", [])
    with pytest.raises(DatasetError, match="is no list of files by split"):
        run("a0", maniskill, split="train")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (episode(instructions=[]), "nothing to choose from"),
        (episode(instructions=" "), "blank"),
        (episode(count=1), "at least 2 waypoints"),
        (episode() | {"cam_highs": []}, "0 pictures"),
        (episode() | {"cam_highs": ["image/9.jpg"]}, "9.jpg is missing"),
        (episode() | {"waypoints2d": [[0, 0], [900, 900]]}, "leaves its picture"),
        (episode() | {"waypoints2d": [[0, 0], ["1", 2]]}, "Expected"),
        (episode() | {"waypoints2d": [1, 2, 3]}, "Expected"),
        ({"metadata": {}}, "missing required field"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(maniskill: Path, run: Run, record: Any, reason: str) -> None:
    path = write(maniskill / "StackCube/label/out_1.json", record)
    samples, bad = run("a0", maniskill)
    assert len(samples) == 2
    (one,) = bad
    assert str(one).startswith(f"{path}, record StackCube/label/out_1.json: ")
    assert reason in one.reason


def test_a_folder_without_episodes_is_refused(tmp_path: Path, run: Run) -> None:
    with pytest.raises(DatasetError, match="holds neither"):
        run("a0", tmp_path)
