import json
from pathlib import Path

import numpy as np
import pytest

from st4vla.contracts.errors import DatasetError
from st4vla.training.actions.lerobot import LeRobotFolder, open_lerobot
from st4vla.training.actions.video_frames import VideoFrames

Actions = tuple[np.ndarray, np.ndarray]


def camera_of(dataset: LeRobotFolder) -> str:
    (name,) = dataset.episodes[0].videos
    return name


def test_both_versions_give_the_same_index(dataset_folder: Path, expected_actions: Actions) -> None:
    dataset = open_lerobot(dataset_folder)
    assert [(e.index, e.length, e.task) for e in dataset.episodes] == [
        (0, 12, "lift the cube"),
        (1, 7, "open the drawer"),
    ]
    assert (dataset.rate_hz, dataset.robot_type) == (10.0, "panda")
    assert [episode.index for episode in dataset.split("val")] == [1]
    for episode, expected in zip(dataset.episodes, expected_actions, strict=True):
        np.testing.assert_array_equal(dataset.column(episode, "action"), expected)


def test_modality_names_cameras_and_orders_parts(dataset_folder: Path) -> None:
    dataset = open_lerobot(dataset_folder)
    if (dataset_folder / "meta/modality.json").is_file():
        assert camera_of(dataset) == "scene"
        assert list(dataset.action_parts.items()) == [("position", (0, 2)), ("gripper", (2, 3))]
    else:
        assert camera_of(dataset) == "front"
        assert dict(dataset.action_parts) == {"action": (0, 3)}


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 11], [11, 0, 6, 5, 5, 2]])
def test_frames_are_found_in_any_order(dataset_folder: Path, order: list[int]) -> None:
    dataset = open_lerobot(dataset_folder)
    camera = camera_of(dataset)
    with VideoFrames(dataset.rate_hz, open_files=1) as frames:
        for frame in order:
            for episode in dataset.episodes:
                if frame < episode.length:
                    pixels = frames.read(episode.videos[camera], frame)
                    assert pixels.shape == (32, 32, 3)
                    assert abs(float(pixels.mean()) - (100 * episode.index + 8 * frame)) < 3, (episode.index, frame)


def test_a_frame_past_the_end_of_a_video_is_named(dataset_folder: Path) -> None:
    dataset = open_lerobot(dataset_folder)
    with VideoFrames(dataset.rate_hz) as frames, pytest.raises(DatasetError, match=r"\.mp4 has no frame at"):
        frames.read(dataset.episodes[1].videos[camera_of(dataset)], 20)


def test_a_corrupt_video_is_named(dataset_folder: Path) -> None:
    dataset = open_lerobot(dataset_folder)
    span = dataset.episodes[0].videos[camera_of(dataset)]
    span.path.write_bytes(b"not a video")
    with VideoFrames(dataset.rate_hz) as frames, pytest.raises(DatasetError, match=r"\.mp4 cannot be decoded"):
        frames.read(span, 0)


def test_a_missing_or_corrupt_table_is_named(dataset_folder: Path) -> None:
    dataset = open_lerobot(dataset_folder)
    table = dataset.episodes[0].table
    table.write_bytes(b"not parquet")
    with pytest.raises(DatasetError, match=rf"{table.name} cannot be read as parquet"):
        dataset.column(dataset.episodes[0], "action")
    table.unlink()
    with pytest.raises(DatasetError, match=table.name):
        dataset.column(dataset.episodes[0], "action")


def test_a_column_that_is_not_there_and_a_split_that_is_not_there_are_named(dataset_folder: Path) -> None:
    dataset = open_lerobot(dataset_folder)
    with pytest.raises(DatasetError, match="torque"):
        dataset.column(dataset.episodes[0], "torque")
    with pytest.raises(DatasetError, match="has the splits train, val, not 'test'"):
        dataset.split("test")


def test_another_version_and_another_number_of_episodes_are_refused(dataset_folder: Path) -> None:
    path = dataset_folder / "meta/info.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"total_episodes": 3}))
    with pytest.raises(DatasetError, match="promises 3 episodes; its index names 2"):
        open_lerobot(dataset_folder)
    path.write_text(json.dumps(info | {"codebase_version": "v1.6"}))
    with pytest.raises(DatasetError, match=r"version 'v1\.6'; read are v2\.1, v3\.0"):
        open_lerobot(dataset_folder)
    del info["fps"]
    path.write_text(json.dumps(info))
    with pytest.raises(DatasetError, match=r"does not fit together: KeyError 'fps'"):
        open_lerobot(dataset_folder)


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"info\.json cannot be read: No such file"):
        open_lerobot(tmp_path)
