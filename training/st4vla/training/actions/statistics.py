"""Statistics of a data set's actions, computed once and kept beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from st4vla.contracts.action import ActionStatistics
from st4vla.contracts.errors import DatasetError
from st4vla.contracts.files import write_manifest
from st4vla.training.actions.lerobot import INFO, Episode, LeRobotFolder

FILE = "meta/st4vla_statistics.json"


class StoredStatistics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies in `FILE`.

    Attributes:
        key: Digest of the data set's `info.json` and of the episodes that were counted; others make it stale.
        frames: How many actions were counted.
        statistics: Per dimension, in the robot's units.
    """

    key: str
    frames: int
    statistics: ActionStatistics


def compute_statistics(actions: npt.NDArray[np.float32]) -> ActionStatistics:
    """Return statistics of actions [N, A] over the first axis; quantiles are interpolated linearly.

    Raises:
        DatasetError: There are no actions.
    """
    if not len(actions):
        msg = "statistics of no actions at all; the split holds no episodes"
        raise DatasetError(msg)
    rows = actions.astype(np.float64)
    low, high = np.quantile(rows, (0.01, 0.99), axis=0)
    found = (low, high, rows.min(0), rows.max(0), rows.mean(0), rows.std(0))
    return ActionStatistics(*(tuple(map(float, values)) for values in found))


def widened(statistics: ActionStatistics, min_range: float) -> ActionStatistics:
    """Return statistics in which no dimension has a smaller range; narrower ones grow about their middle.

    A dimension that only trembles would otherwise be stretched until its noise is as loud as what moves.

    Args:
        statistics: Per dimension.
        min_range: In the robot's units, between the quantiles and between the extremes.
    """

    def spread(low: tuple[float, ...], high: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        bottom, top = np.array(low), np.array(high)
        more = np.maximum(min_range - (top - bottom), 0) / 2
        return tuple((bottom - more).tolist()), tuple((top + more).tolist())

    # The deviation of a uniform distribution over that range.
    std = tuple(max(each, min_range / 12**0.5) for each in statistics.std)
    low, high = spread(statistics.q01, statistics.q99)
    return ActionStatistics(low, high, *spread(statistics.min, statistics.max), statistics.mean, std)


def load_statistics(dataset: LeRobotFolder, episodes: tuple[Episode, ...]) -> ActionStatistics:
    """Return the statistics of some episodes' actions, read if they were computed before, else computed and stored.

    A folder that cannot be written to is no error: they are computed again the next time.

    Raises:
        DatasetError: A table cannot be read.
    """
    path = dataset.folder / FILE
    key = _key(dataset.folder, episodes)
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=StoredStatistics)
        if stored.key == key:
            return stored.statistics
    except (OSError, msgspec.DecodeError):
        pass
    actions = [dataset.column(episode, "action") for episode in episodes]
    joined = np.concatenate(actions) if actions else np.empty((0, 1), np.float32)
    statistics = compute_statistics(joined)
    try:
        write_manifest(path, StoredStatistics(key, len(joined), statistics))
    except OSError:
        return statistics
    return statistics


def _key(folder: Path, episodes: tuple[Episode, ...]) -> str:
    digest = hashlib.sha256((folder / INFO).read_bytes())
    digest.update(repr([(episode.index, episode.length) for episode in episodes]).encode())
    return digest.hexdigest()
