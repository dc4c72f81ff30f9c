"""Write recordings as a LeRobot v2.1 data set with GR00T's `modality.json`, and true boxes beside it.

Layout::

    meta/{info.json, tasks.jsonl, episodes.jsonl, episodes_stats.jsonl, modality.json}
    data/chunk-000/episode_000000.parquet
    videos/chunk-000/observation.images.CAMERA/episode_000000.mp4
    annotations/boxes.jsonl, annotations/images/*.png      (ours: one line a picture)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from st4vla.benchmarks.tabletop.assets import CAMERAS
from st4vla.benchmarks.tabletop.recording import ACTION_NAMES, STATE_NAMES, Annotated, Recording
from st4vla.benchmarks.tabletop.video import write_video
from st4vla.contracts.files import write_atomically

CHUNK_EPISODES = 1000
INFO = "meta/info.json"
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
ANNOTATIONS, ANNOTATED_IMAGES = "annotations/boxes.jsonl", "annotations/images"
VIDEO_KEYS = {camera: f"observation.images.{camera}" for camera in CAMERAS}


def write_episode(folder: Path, index: int, recording: Recording, rate_hz: int, task_index: int) -> dict[str, Any]:
    """Write an episode's table and videos; return its line of `episodes_stats.jsonl`.

    The table's column ``index``, which counts frames over all episodes, is left to `number_frames`.
    """
    length = len(recording.actions)
    states, actions = np.stack(recording.states), np.stack(recording.actions)
    columns = {
        "observation.state": _vectors(states),
        "action": _vectors(actions),
        "timestamp": pa.array(np.arange(length, dtype=np.float32) / rate_hz),
        "frame_index": pa.array(np.arange(length, dtype=np.int64)),
        "episode_index": pa.array(np.full(length, index, np.int64)),
        "index": pa.array(np.zeros(length, np.int64)),
        "task_index": pa.array(np.full(length, task_index, np.int64)),
    }
    path = folder / _path(DATA_PATH, index)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    stats = {"observation.state": _stats(states), "action": _stats(actions)}
    for camera, key in VIDEO_KEYS.items():
        pictures = [step[camera] for step in recording.pictures]
        video = folder / _path(VIDEO_PATH, index, key)
        video.parent.mkdir(parents=True, exist_ok=True)
        write_video(video, pictures, rate_hz)
        stats[key] = _picture_stats(pictures)
    return {"episode_index": index, "stats": stats}


def number_frames(folder: Path, index: int, first: int) -> int:
    """Fill in the column ``index`` of an episode whose first frame is number `first`; return its length."""
    path = folder / _path(DATA_PATH, index)
    table = pq.read_table(path)
    numbers = pa.array(np.arange(first, first + table.num_rows, dtype=np.int64))
    pq.write_table(table.set_column(table.column_names.index("index"), "index", numbers), path)
    return int(table.num_rows)


def write_annotated(
    folder: Path, name: str, annotated: Annotated, *, episode_index: int | None, split: str
) -> list[dict[str, Any]]:
    """Write the pictures of an annotated step and return their lines of `boxes.jsonl`.

    Args:
        folder: The data set.
        name: Begins the pictures' names.
        annotated: Pictures and boxes.
        episode_index: The episode it is of, or None for a scene of its own.
        split: ``train`` or ``val``.
    """
    (folder / ANNOTATED_IMAGES).mkdir(parents=True, exist_ok=True)
    lines = []
    for camera, picture in annotated.pictures.items():
        image = f"{ANNOTATED_IMAGES}/{name}_frame_{annotated.frame_index:06d}_{camera}.png"
        Image.fromarray(picture).save(folder / image)
        lines.append(
            {
                "episode_index": episode_index,
                "frame_index": annotated.frame_index,
                "split": split,
                "image": image,
                "view": camera,
                "width": picture.shape[1],
                "height": picture.shape[0],
                "boxes": annotated.boxes[camera],
            }
        )
    return lines


def write_meta(
    folder: Path,
    *,
    tasks: Sequence[str],
    episodes: Sequence[Mapping[str, Any]],
    stats: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    held_out: int,
    rate_hz: int,
    image_size: int,
) -> None:
    """Write what describes the data set: `episodes` are lines of `episodes.jsonl`; the last `held_out` are ``val``."""
    count, frames = len(episodes), sum(episode["length"] for episode in episodes)
    info = {
        "codebase_version": "v2.1",
        "robot_type": "panda",
        "total_episodes": count,
        "total_frames": frames,
        "total_tasks": len(tasks),
        "total_videos": count * len(VIDEO_KEYS),
        "total_chunks": -(-count // CHUNK_EPISODES),
        "chunks_size": CHUNK_EPISODES,
        "fps": rate_hz,
        "splits": {"train": f"0:{count - held_out}", "val": f"{count - held_out}:{count}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": _features(rate_hz, image_size),
    }
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    (folder / ANNOTATIONS).parent.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "meta/modality.json", _modality())
    _write_lines(folder / "meta/tasks.jsonl", [{"task_index": index, "task": task} for index, task in enumerate(tasks)])
    _write_lines(folder / "meta/episodes.jsonl", episodes)
    _write_lines(folder / "meta/episodes_stats.jsonl", stats)
    _write_lines(folder / ANNOTATIONS, annotations)
    _write_json(folder / INFO, info)


def _features(rate_hz: int, image_size: int) -> dict[str, Any]:
    def scalar(dtype: str) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [1], "names": None}

    def vector(names: Sequence[str]) -> dict[str, Any]:
        return {"dtype": "float32", "shape": [len(names)], "names": list(names)}

    video = {
        "dtype": "video",
        "shape": [image_size, image_size, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": image_size,
            "video.width": image_size,
            "video.channels": 3,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.fps": rate_hz,
            "video.is_depth_map": False,
            "has_audio": False,
        },
    }
    return {
        **dict.fromkeys(VIDEO_KEYS.values(), video),
        "observation.state": vector(STATE_NAMES),
        "action": vector(ACTION_NAMES),
        "timestamp": scalar("float32"),
        **{name: scalar("int64") for name in ("frame_index", "episode_index", "index", "task_index")},
    }


def _modality() -> dict[str, Any]:
    parts = {"position": (0, 3), "rotation": (3, 6), "gripper": (6, 7)}
    spans = {name: {"start": start, "end": end} for name, (start, end) in parts.items()}
    return {
        "state": spans,
        "action": spans,
        "video": {camera: {"original_key": key} for camera, key in VIDEO_KEYS.items()},
        "annotation": {"human.action.task_description": {"original_key": "task_index"}},
    }


def _path(template: str, index: int, video_key: str = "") -> str:
    return template.format(episode_chunk=index // CHUNK_EPISODES, episode_index=index, video_key=video_key)


def _vectors(rows: npt.NDArray[np.float32]) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def _stats(rows: npt.NDArray[Any]) -> dict[str, Any]:
    """Return statistics over the first axis, as lists."""
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(rows)]}


def _picture_stats(pictures: Sequence[npt.NDArray[np.uint8]]) -> dict[str, Any]:
    """Return statistics by channel in [0, 1], each [3, 1, 1], over every fourth pixel of every fourth picture."""
    sampled = np.stack([picture[::4, ::4] for picture in pictures[::4]]).reshape(-1, 3) / 255.0
    stats = _stats(sampled)
    shaped = {name: [[[value]] for value in stats[name]] for name in ("min", "max", "mean", "std")}
    return shaped | {"count": [len(pictures[::4])]}


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def _write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    write_atomically(path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
