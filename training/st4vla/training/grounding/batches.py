"""Samples as tensors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.conversation import IGNORED, Conversation, encode
from st4vla.training.grounding.resize import FACTOR, smart_resize
from st4vla.training.grounding.samples import GroundingSample, Task, read_samples

#: As in the reference: a picture of 224 by 224 pixels is the largest, one token's is the smallest.
MAX_PIXELS, MIN_PIXELS = 224 * 224, FACTOR * FACTOR


@dataclass(frozen=True)
class Item:
    """A sample with its pictures, RGB uint8 [H, W, 3] in the size that the model sees."""

    sample: GroundingSample
    conversation: Conversation
    pictures: tuple[Tensor, ...]


@dataclass(frozen=True)
class GroundingBatch:
    """Conversations of unequal lengths.

    Attributes:
        pictures: Those of the first conversation first, RGB uint8 [H, W, 3] each.
        token_ids: int64 [B, L], padded on the right.
        token_mask: bool [B, L], False on padding.
        labels: int64 [B, L], `IGNORED` where there is nothing to learn.
    """

    pictures: tuple[Tensor, ...]
    token_ids: Tensor
    token_mask: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> GroundingBatch:
        """Return the batch on a device."""
        pictures = tuple(picture.to(device) for picture in self.pictures)
        return GroundingBatch(pictures, self.token_ids.to(device), self.token_mask.to(device), self.labels.to(device))


class GroundingSet:
    """The samples of a file, read at once; their pictures are read when they are asked for.

    Args:
        path: File of samples.
        images: Folder that the pictures' names start from.
        tokenizer: The policy's.
        tasks: Take the samples of these alone; none takes all.

    Raises:
        DatasetError: The file cannot be read, or holds none of these tasks.
    """

    def __init__(self, path: Path, images: Path, tokenizer: Tokenizer, tasks: Collection[Task] = ()) -> None:
        self._samples = tuple(sample for sample in read_samples(path) if not tasks or sample.task in tasks)
        if tasks and not self._samples:
            wanted = ", ".join(task.value for task in tasks)
            msg = f"{path} holds no samples of {wanted}; leave 'tasks' out, or name a file that does"
            raise DatasetError(msg)
        self._images, self.tokenizer = images, tokenizer

    def __len__(self) -> int:
        return len(self._samples)

    def indices_of(self, task: Task) -> list[int]:
        """Return the samples that teach a task."""
        return [index for index, sample in enumerate(self._samples) if sample.task is task]

    def __getitem__(self, index: int) -> Item:
        """Return a sample with its pictures.

        Raises:
            DatasetError: A picture cannot be read, or the text holds a special token.
        """
        sample = self._samples[index]
        pictures = tuple(self._picture(sample, name) for name in sample.images)
        height, width = pictures[0].shape[:2]
        tokens = [picture.shape[0] * picture.shape[1] // FACTOR**2 for picture in pictures]
        return Item(sample, encode(sample, self.tokenizer, tokens, (width, height)), pictures)

    def length(self, index: int) -> int:
        """Return how many tokens a sample becomes, without reading its pictures.

        The size of the first picture is known; further ones are taken to be as large.

        Raises:
            DatasetError: The text holds a special token, or the size cannot be shown.
        """
        sample = self._samples[index]
        width, height = sample.size
        rows, columns = smart_resize(height, width, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
        tokens = [rows * columns // FACTOR**2] * len(sample.images)
        return len(encode(sample, self.tokenizer, tokens, (columns, rows)).token_ids)

    def _picture(self, sample: GroundingSample, name: str) -> Tensor:
        try:
            return load_picture(self._images / name)
        except DatasetError as error:
            msg = f"sample {sample.id!r}: {error}; replace the picture, or convert the data set again"
            raise DatasetError(msg) from error


def load_picture(path: Path) -> Tensor:
    """Return a picture as the model sees it, RGB uint8 [H, W, 3]; resizing is bicubic, as Qwen's own.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
    # Pillow reports some broken files as a mistake of syntax.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        msg = f"{path} cannot be read as a picture: {error}"
        raise DatasetError(msg) from error
    height, width = smart_resize(rgb.height, rgb.width, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
    if (width, height) != rgb.size:
        rgb = rgb.resize((width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(rgb))


def collate(items: Sequence[Item], padding_id: int) -> GroundingBatch:
    """Join items into a batch."""
    length = max(len(item.conversation.token_ids) for item in items)
    token_ids = torch.full((len(items), length), padding_id)
    labels = torch.full((len(items), length), IGNORED)
    mask = torch.zeros(len(items), length, dtype=torch.bool)
    for row, item in enumerate(items):
        count = len(item.conversation.token_ids)
        token_ids[row, :count] = torch.tensor(item.conversation.token_ids)
        labels[row, :count] = torch.tensor(item.conversation.labels)
        mask[row, :count] = True
    return GroundingBatch(tuple(picture for item in items for picture in item.pictures), token_ids, mask, labels)
