"""A little of everything that both stages learn from."""

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from st4vla.training.checkpoint import init_checkpoint, save_checkpoint
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn, write_samples

RATE_HZ, LENGTH, SIDE = 20, 6, 32
CAMERAS = ("agentview", "wrist")


def write_episode(folder: Path, episode: int) -> None:
    """Write an episode whose brightness says which way the arm goes."""
    direction = 1.0 if episode % 2 else -1.0
    actions = np.zeros((LENGTH, 7), np.float32)
    actions[:, 0] = 0.01 * direction
    actions[:, 6] = episode % 2
    (folder / "data/chunk-000").mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "action": pa.array(actions.tolist(), pa.list_(pa.float32())),
            "episode_index": pa.array([episode] * LENGTH),
        }
    )
    pq.write_table(table, folder / f"data/chunk-000/episode_{episode:06d}.parquet")
    for camera in CAMERAS:
        path = folder / f"videos/chunk-000/{camera}/episode_{episode:06d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=RATE_HZ, options={"crf": "1"})
            stream.width = stream.height = SIDE
            pixels = np.full((SIDE, SIDE, 3), 220 if episode % 2 else 30, np.uint8)
            for _ in range(LENGTH):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            container.mux(stream.encode())


def write_dataset(folder: Path) -> None:
    for episode in range(6):
        write_episode(folder, episode)
    (folder / "meta").mkdir()
    lines = [{"episode_index": e, "tasks": ["go there"], "length": LENGTH} for e in range(6)]
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    info = {
        "codebase_version": "v2.1",
        "robot_type": "panda",
        "total_episodes": 6,
        "fps": RATE_HZ,
        "chunks_size": 1000,
        "splits": {"train": "0:4", "val": "4:6"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            **{camera: {"dtype": "video", "shape": [SIDE, SIDE, 3]} for camera in CAMERAS},
            "action": {"dtype": "float32", "shape": [7]},
        },
    }
    (folder / "meta/info.json").write_text(json.dumps(info))


def write_samples_file(folder: Path) -> None:
    rows = []
    for index in range(4):
        Image.new("RGB", (56, 56), (60 * index, 0, 0)).save(folder / f"{index}.png")
        turn = Turn("Where?", targets=(Target("it", box=(10, 10, 30, 40)),))
        rows.append(GroundingSample(str(index), Task.BOX, (f"{index}.png",), (56, 56), (turn,)))
    write_samples(folder / "samples.jsonl", rows)


@pytest.fixture
def joint_data(tmp_path: Path) -> Path:
    """Return a folder with an untrained policy in `start`, demonstrations in `episodes`, and `samples.jsonl`."""
    save_checkpoint(tmp_path / "start", init_checkpoint("tiny", 2))
    write_dataset(tmp_path / "episodes")
    write_samples_file(tmp_path)
    return tmp_path
