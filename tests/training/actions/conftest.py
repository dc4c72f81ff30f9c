"""A small LeRobot data set in either version, by hand; frame k of episode e has the brightness 100 e + 8 k."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

LENGTHS, RATE_HZ, KEY = (12, 7), 10, "observation.images.front"
TASKS = ("lift the cube", "open the drawer")


def actions_of(episode: int) -> np.ndarray:
    rows = np.arange(LENGTHS[episode] * 3, dtype=np.float32).reshape(-1, 3) / 100 + episode
    rows[:, 2] = (np.arange(len(rows)) >= 5).astype(np.float32)
    return rows


def write_video(path: Path, brightnesses: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ, options={"crf": "1", "g": "5"})
        stream.width = stream.height = 32
        for brightness in brightnesses:
            pixels = np.full((32, 32, 3), brightness, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())


def brightnesses_of(episode: int) -> list[int]:
    return [100 * episode + 8 * frame for frame in range(LENGTHS[episode])]


def table_of(episode: int, first: int) -> pa.Table:
    length = LENGTHS[episode]
    return pa.table(
        {
            "action": pa.array(actions_of(episode).tolist(), pa.list_(pa.float32())),
            "timestamp": pa.array(np.arange(length, dtype=np.float32) / RATE_HZ),
            "frame_index": pa.array(range(length)),
            "episode_index": pa.array([episode] * length),
            "index": pa.array(range(first, first + length)),
            "task_index": pa.array([episode] * length),
        }
    )


def info(version: str, **paths: str) -> dict[str, Any]:
    return {
        "codebase_version": version,
        "robot_type": "panda",
        "total_episodes": 2,
        "fps": RATE_HZ,
        "chunks_size": 1000,
        "splits": {"train": "0:1", "val": "1:2"},
        "features": {
            KEY: {"dtype": "video", "shape": [32, 32, 3]},
            "action": {"dtype": "float32", "shape": [3], "names": ["x", "y", "gripper"]},
        },
        **paths,
    }


def write_v21(folder: Path) -> None:
    paths = {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (folder / "data/chunk-000").mkdir(parents=True)
    (folder / "meta").mkdir()
    for episode in range(2):
        pq.write_table(table_of(episode, 12 * episode), folder / f"data/chunk-000/episode_{episode:06d}.parquet")
        write_video(folder / f"videos/chunk-000/{KEY}/episode_{episode:06d}.mp4", brightnesses_of(episode))
    lines = [{"episode_index": e, "tasks": [TASKS[e]], "length": LENGTHS[e]} for e in range(2)]
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "meta/info.json").write_text(json.dumps(info("v2.1", **paths)))
    modality = {
        "action": {"gripper": {"start": 2, "end": 3}, "position": {"start": 0, "end": 2}},
        "video": {"scene": {"original_key": KEY}},
    }
    (folder / "meta/modality.json").write_text(json.dumps(modality))


def write_v30(folder: Path) -> None:
    paths = {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    (folder / "data/chunk-000").mkdir(parents=True)
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    both = pa.concat_tables([table_of(0, 0), table_of(1, 12)])
    pq.write_table(both, folder / "data/chunk-000/file-000.parquet")
    write_video(folder / f"videos/{KEY}/chunk-000/file-000.mp4", brightnesses_of(0) + brightnesses_of(1))
    lines = [
        {
            "episode_index": e,
            "tasks": [TASKS[e]],
            "length": LENGTHS[e],
            "data/chunk_index": 0,
            "data/file_index": 0,
            f"videos/{KEY}/chunk_index": 0,
            f"videos/{KEY}/file_index": 0,
            f"videos/{KEY}/from_timestamp": 1.2 * e,
            f"videos/{KEY}/to_timestamp": 1.2 + 0.7 * e,
        }
        for e in range(2)
    ]
    pq.write_table(pa.Table.from_pylist(lines), folder / "meta/episodes/chunk-000/file-000.parquet")
    (folder / "meta/info.json").write_text(json.dumps(info("v3.0", **paths)))


@pytest.fixture(params=["v2.1", "v3.0"])
def dataset_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    folder.mkdir()
    {"v2.1": write_v21, "v3.0": write_v30}[request.param](folder)
    return folder


@pytest.fixture
def expected_actions() -> tuple[np.ndarray, np.ndarray]:
    return actions_of(0), actions_of(1)
