"""LeRobot data sets, versions 2.1 and 3.0, as one index of episodes.

In version 2.1 every episode has a table and a video a camera of its own; in 3.0 many episodes share a file, and
`meta/episodes` says where each one lies. GR00T's `meta/modality.json`, where it is there, names cameras and the parts
of the action vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import DatasetError, MissingExtraError

INFO, MODALITY = "meta/info.json", "meta/modality.json"
VERSIONS = ("v2.1", "v3.0")


@dataclass(frozen=True)
class VideoSpan:
    """Where an episode's pictures of one camera lie: a file, and the time of the first one in it, in seconds."""

    path: Path
    from_s: float


@dataclass(frozen=True)
class Episode:
    """One demonstration.

    Attributes:
        index: Its number in the data set.
        length: Frames.
        task: The instruction.
        table: The parquet file that holds its rows.
        videos: For each camera, by its short name, where its pictures lie.
    """

    index: int
    length: int
    task: str
    table: Path
    videos: Mapping[str, VideoSpan]


@dataclass(frozen=True)
class LeRobotFolder:
    """A data set's index.

    Attributes:
        folder: Where it lies.
        rate_hz: Frames per second.
        robot_type: The embodiment.
        episodes: In order.
        splits: Name to the half-open range of episode numbers.
        action_parts: Name of each part of the action vector to its half-open span, in order.
    """

    folder: Path
    rate_hz: float
    robot_type: str
    episodes: tuple[Episode, ...]
    splits: Mapping[str, tuple[int, int]]
    action_parts: Mapping[str, tuple[int, int]]

    def split(self, name: str) -> tuple[Episode, ...]:
        """Return the episodes of a split.

        Raises:
            DatasetError: There is no such split.
        """
        if name not in self.splits:
            msg = f"{self.folder} has the splits {', '.join(self.splits) or 'none'}, not {name!r}"
            raise DatasetError(msg)
        first, end = self.splits[name]
        return tuple(episode for episode in self.episodes if first <= episode.index < end)

    def column(self, episode: Episode, name: str) -> npt.NDArray[np.float32]:
        """Return a column of an episode, float32 [length, width].

        Raises:
            DatasetError: The table is missing, broken, or has another number of rows than the index says.
        """
        table = _read_table(episode.table, [name], episode.index)
        if table.num_rows != episode.length:
            msg = (
                f"{episode.table} holds {table.num_rows} rows of episode {episode.index}; the index says "
                f"{episode.length}: the data set is not whole, copy it again"
            )
            raise DatasetError(msg)
        column = table.column(name).combine_chunks()
        flat = column.flatten() if hasattr(column, "flatten") else column
        values: npt.NDArray[np.float32] = flat.to_numpy(zero_copy_only=False).astype(np.float32)
        if values.size % episode.length or not np.isfinite(values).all():
            msg = f"{episode.table}: {name!r} of episode {episode.index} has gaps or NaN in it; leave this episode out"
            raise DatasetError(msg)
        return values.reshape(episode.length, -1)


def open_lerobot(folder: Path) -> LeRobotFolder:
    """Read the index of a LeRobot data set.

    Raises:
        DatasetError: Not a data set, of another version, or an index that does not fit together; files are named.
        MissingExtraError: pyarrow is not installed.
    """
    info = _read_json(folder / INFO)
    version = info.get("codebase_version")
    if version not in VERSIONS:
        known = ", ".join(VERSIONS)
        msg = f"{folder / INFO} says version {version!r}; read are {known}: convert it with lerobot's own tool"
        raise DatasetError(msg)
    modality = _read_json(folder / MODALITY) if (folder / MODALITY).is_file() else {}
    try:
        cameras = _cameras(info, modality)
        read: Callable[..., list[Episode]] = _episodes_v21 if version == "v2.1" else _episodes_v30
        episodes = read(folder, info, cameras)
        splits = {name: _range(span) for name, span in info.get("splits", {}).items()}
        action_parts = _action_parts(info, modality)
        rate_hz = float(info["fps"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        msg = f"the index of {folder} does not fit together: {type(error).__name__} {error}; is {folder / INFO} whole?"
        raise DatasetError(msg) from error
    if len(episodes) != info.get("total_episodes", len(episodes)):
        msg = f"{folder / INFO} promises {info['total_episodes']} episodes; its index names {len(episodes)}"
        raise DatasetError(msg)
    return LeRobotFolder(folder, rate_hz, str(info.get("robot_type")), tuple(episodes), splits, action_parts)


def _cameras(info: Mapping[str, Any], modality: Mapping[str, Any]) -> dict[str, str]:
    """Return short name to column of each camera."""
    if "video" in modality:
        return {name: view.get("original_key", name) for name, view in modality["video"].items()}
    keys = [name for name, feature in info["features"].items() if feature["dtype"] == "video"]
    return {key.rpartition(".")[2]: key for key in keys}


def _action_parts(info: Mapping[str, Any], modality: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    if "action" in modality:
        spans = {name: (int(span["start"]), int(span["end"])) for name, span in modality["action"].items()}
        return dict(sorted(spans.items(), key=lambda item: item[1]))
    return {"action": (0, int(info["features"]["action"]["shape"][0]))}


def _episodes_v21(folder: Path, info: Mapping[str, Any], cameras: Mapping[str, str]) -> list[Episode]:
    episodes = []
    for line in _read_lines(folder / "meta/episodes.jsonl"):
        index = int(line["episode_index"])
        names = {"episode_chunk": index // int(info["chunks_size"]), "episode_index": index}
        videos = {
            camera: VideoSpan(folder / info["video_path"].format(video_key=key, **names), 0.0)
            for camera, key in cameras.items()
        }
        table = folder / info["data_path"].format(**names)
        episodes.append(Episode(index, int(line["length"]), str(line["tasks"][0]), table, videos))
    return episodes


def _episodes_v30(folder: Path, info: Mapping[str, Any], cameras: Mapping[str, str]) -> list[Episode]:
    episodes = []
    files = sorted((folder / "meta/episodes").glob("*/*.parquet"))
    if not files:
        msg = f"{folder / 'meta/episodes'} holds no parquet files; the data set is not whole, copy it again"
        raise DatasetError(msg)
    for file in files:
        for line in _read_table(file).to_pylist():
            videos = {
                camera: VideoSpan(
                    folder
                    / info["video_path"].format(
                        video_key=key,
                        chunk_index=line[f"videos/{key}/chunk_index"],
                        file_index=line[f"videos/{key}/file_index"],
                    ),
                    float(line[f"videos/{key}/from_timestamp"]),
                )
                for camera, key in cameras.items()
            }
            table = info["data_path"].format(chunk_index=line["data/chunk_index"], file_index=line["data/file_index"])
            task = str(line["tasks"][0])
            episodes.append(Episode(int(line["episode_index"]), int(line["length"]), task, folder / table, videos))
    return sorted(episodes, key=lambda episode: episode.index)


def _range(span: str) -> tuple[int, int]:
    first, end = span.split(":")
    return int(first), int(end)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}; is {path.parent.parent} a LeRobot data set?"
        raise DatasetError(msg) from error
    except msgspec.DecodeError as error:
        msg = f"{path} is no JSON object: {error}"
        raise DatasetError(msg) from error


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}; the data set is not whole, copy it again"
        raise DatasetError(msg) from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(msgspec.json.decode(line, type=dict[str, Any]))
        except msgspec.DecodeError as error:
            msg = f"{path}, line {number}: {error}"
            raise DatasetError(msg) from error
    return found


def _read_table(path: Path, columns: list[str] | None = None, episode: int | None = None) -> Any:
    """Return a pyarrow table: some of its columns, and the rows of one episode, or all."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        msg = "LeRobot data sets need pyarrow; install it with: pip install 'st4vla[train]'"
        raise MissingExtraError(msg) from error
    rows = None if episode is None else [("episode_index", "==", episode)]
    try:
        return pq.read_table(path, columns=columns, filters=rows)
    except (OSError, pa.ArrowException) as error:
        msg = f"{path} cannot be read as parquet with the columns {columns or 'it has'}: {str(error).splitlines()[0]}"
        raise DatasetError(msg) from error
