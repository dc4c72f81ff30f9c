"""A LeRobot data set as what stage 2 learns from: a moment's views, its instruction, and the chunk that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from st4vla.contracts.action import ActionNormalizer, ActionSpec, ActionStatistics
from st4vla.contracts.errors import DatasetError
from st4vla.contracts.manifests import ViewSpec
from st4vla.training.actions.chunks import chunk_at, moving_frames
from st4vla.training.actions.lerobot import Episode, LeRobotFolder, open_lerobot
from st4vla.training.actions.picture_cache import DECODED, PictureCache, file_key
from st4vla.training.actions.statistics import load_statistics
from st4vla.training.actions.video_frames import VideoFrames

TRAIN = "train"
RATE_TOLERANCE = 0.01


@dataclass(frozen=True)
class Moment:
    """One sample.

    Attributes:
        views: RGB uint8 [V, H, W, 3], in the policy's order and size.
        instruction: What the robot is told.
        actions: Normalised to [-1, 1], float32 [T, A].
        mask: bool [T], False past the episode's end.
    """

    views: Tensor
    instruction: str
    actions: Tensor
    mask: Tensor


class Demonstrations:
    """The moments of some episodes, by number.

    Args:
        folder: Of a LeRobot data set, version 2.1 or 3.0.
        split: Its episodes; a data set that names no splits has all of its episodes in ``train``.
        spec: What the policy's actions are.
        views: The policy's cameras, in order.
        parts: Names of the parts of the action vector that are the policy's, in order; none takes the vector as it is.
        cameras: The policy's name of a camera to the data set's, where they differ.
        any_rate: Take a data set whose rate is not the policy's, as mixtures of embodiments have them; its actions are
            then played faster or slower than they were shown.
        drop_pauses: Leave out moments in which the arm and its gripper rest.
        every: Take each n-th moment only.
        statistics: What actions are normalised with, where the embodiment has other data sets too; none takes those of
            this one's training episodes.
        cache: Where decoded pictures are kept.

    Raises:
        DatasetError: The data set cannot be read, or does not fit the policy: its cameras, parts, width or rate.
        MissingExtraError: pyarrow or PyAV is not installed.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        spec: ActionSpec,
        views: Sequence[ViewSpec],
        *,
        parts: Sequence[str] = (),
        cameras: Mapping[str, str] | None = None,
        any_rate: bool = False,
        drop_pauses: bool = False,
        every: int = 1,
        statistics: ActionStatistics | None = None,
        cache: PictureCache = DECODED,
    ) -> None:
        self._dataset = open_lerobot(folder)
        self._spec, self._views, self._columns = spec, tuple(views), _columns(self._dataset, parts)
        self._cameras = {view.name: (cameras or {}).get(view.name, view.name) for view in views}
        _require_cameras(self._dataset, list(self._cameras.values()))
        if not any_rate:
            _require_rate(self._dataset, spec)
        if statistics is None:
            train = _episodes(self._dataset, TRAIN)
            statistics = _select(load_statistics(self._dataset, train), self._columns)
        self.statistics = statistics
        normalizer = self._normalizer(folder)
        self._episodes = _episodes(self._dataset, split)
        self._actions, self._index = [], list[tuple[int, int]]()
        for number, episode in enumerate(self._episodes):
            raw = self._dataset.column(episode, "action")[:, self._columns]
            frames = np.arange(episode.length)
            if drop_pauses:
                gripper = spec.gripper_index
                frames = moving_frames(raw, moving=slice(0, min(3, spec.dim)), gripper_index=gripper)
            self._actions.append(normalizer.normalize(raw).astype(np.float32))
            self._index.extend((number, int(frame)) for frame in frames[::every])
        self._frames = VideoFrames(self._dataset.rate_hz)
        self._cache = cache

    def __len__(self) -> int:
        return len(self._index)

    def training_actions(self) -> npt.NDArray[np.float32]:
        """Return all actions of the training episodes, in the robot's units, [N, A]."""
        episodes = _episodes(self._dataset, TRAIN)
        rows = [self._dataset.column(episode, "action")[:, self._columns] for episode in episodes]
        return np.concatenate(rows) if rows else np.empty((0, len(self._columns)), np.float32)

    def __getitem__(self, index: int) -> Moment:
        """Return a moment.

        Raises:
            DatasetError: A video cannot be decoded.
        """
        number, frame = self._index[index]
        episode = self._episodes[number]
        chunk = self.chunk(index)
        views = torch.from_numpy(np.stack([self._picture(number, view, frame) for view in self._views]))
        return Moment(views, episode.task, torch.from_numpy(chunk[0]), torch.from_numpy(chunk[1]))

    def chunk(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return the actions [T, A] and their mask [T] of a moment, without its pictures."""
        number, frame = self._index[index]
        chunk = chunk_at(self._actions[number], frame, self._spec.horizon)
        return chunk.actions, chunk.mask

    def _normalizer(self, folder: Path) -> ActionNormalizer:
        try:
            return ActionNormalizer(self._spec, self.statistics)
        except ValueError as error:
            msg = f"{folder}: {error}; name the parts of the action that the policy has with 'parts'"
            raise DatasetError(msg) from error

    def _picture(self, number: int, view: ViewSpec, frame: int) -> npt.NDArray[np.uint8]:
        """Return a camera's frame in the policy's size.

        An episode is decoded at once when it is first asked for: from one keyframe to the next a video gives its frames
        in order or not at all.
        """
        episode = self._episodes[number]
        span = episode.videos[self._cameras[view.name]]
        pictures = self._cache.get(
            (*file_key(span.path), span.from_s, episode.length, view.height, view.width),
            lambda: np.stack([_resize(self._frames.read(span, each), view) for each in range(episode.length)]),
        )
        picture: npt.NDArray[np.uint8] = pictures[frame]
        return picture


def _resize(picture: npt.NDArray[np.uint8], view: ViewSpec) -> npt.NDArray[np.uint8]:
    """Return a picture in a view's size; the runtime does the same, bit for bit.

    Rows first in every version of Pillow: in a single call Pillow 13 takes the columns of some pictures first.
    """
    if picture.shape[:2] == (view.height, view.width):
        return picture
    rows = Image.fromarray(picture).resize((view.width, picture.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(rows.resize((view.width, view.height), Image.Resampling.BICUBIC))


def _episodes(dataset: LeRobotFolder, split: str) -> tuple[Episode, ...]:
    if split == TRAIN and not dataset.splits:
        return dataset.episodes
    return dataset.split(split)


def _columns(dataset: LeRobotFolder, parts: Sequence[str]) -> list[int]:
    known = dataset.action_parts
    unknown = [part for part in parts if part not in known]
    if unknown:
        msg = f"{dataset.folder} has no action parts {', '.join(unknown)}; it has {', '.join(known)}"
        raise DatasetError(msg)
    spans = [known[part] for part in parts] or [(0, max(end for _, end in known.values()))]
    return [column for first, end in spans for column in range(first, end)]


def _require_cameras(dataset: LeRobotFolder, wanted: Sequence[str]) -> None:
    cameras = dataset.episodes[0].videos if dataset.episodes else {}
    absent = [name for name in wanted if name not in cameras]
    if absent:
        msg = (
            f"{dataset.folder} has the cameras {', '.join(cameras) or 'none'}, and not {', '.join(absent)}; "
            "say with 'cameras' what it calls the policy's"
        )
        raise DatasetError(msg)


def _require_rate(dataset: LeRobotFolder, spec: ActionSpec) -> None:
    policy_hz = 1e9 / spec.period_ns
    if abs(dataset.rate_hz / policy_hz - 1) > RATE_TOLERANCE:
        msg = (
            f"{dataset.folder} has {dataset.rate_hz:g} actions a second, the policy plays {policy_hz:g}; "
            "resample the data set, begin with a checkpoint of its rate, or say any_rate = true"
        )
        raise DatasetError(msg)


def _select(statistics: ActionStatistics, columns: Sequence[int]) -> ActionStatistics:
    values = ([getattr(statistics, name)[column] for column in columns] for name in statistics.__struct_fields__)
    return ActionStatistics(*(tuple(each) for each in values))
