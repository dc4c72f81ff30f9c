"""Where the things that conversations ask for lie among the tokens of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from st4vla.training.grounding.batches import Item
from st4vla.training.grounding.records import Box
from st4vla.training.grounding.resize import FACTOR

#: What a picture's token shows: nothing that has a box, or who knows, for the picture has no boxes at all.
NOTHING, UNKNOWN = -1, -2
#: A token shows a thing if it holds more than this of it, or is filled by it to more than this.
MIN_SHARE = 0.3


@dataclass(frozen=True)
class Regions:
    """The boxed things of a batch, N tokens of pictures and M mentions of things in questions.

    Attributes:
        phrases: Token ids of each thing's label, as it stands within a sentence.
        shown: int64 [N], which of the phrases each token shows, else `NOTHING` or `UNKNOWN`.
        places: float32 [N, 4], the box of what is shown, or where nothing is, the token's own: x1, y1, x2, y2 in pixels
            of the picture as the model sees it.
        mentions: int64 [M, 2], row and column of the token that ends a label in its question.
        mentioned: float32 [M, 4], the boxes of those things.
    """

    phrases: tuple[tuple[int, ...], ...]
    shown: Tensor
    places: Tensor
    mentions: Tensor
    mentioned: Tensor

    def to(self, device: torch.device) -> Regions:
        """Return them on a device."""
        tensors = (each.to(device) for each in (self.shown, self.places, self.mentions, self.mentioned))
        return Regions(self.phrases, *tensors)


def find_regions(items: Sequence[Item], tokenizer: Tokenizer) -> Regions:
    """Return the regions of a batch of these items; boxes lie in the first picture of each.

    Args:
        items: As they are collated.
        tokenizer: The policy's.
    """
    numbers: dict[str, int] = {}
    shown: list[npt.NDArray[np.int64]] = []
    places: list[npt.NDArray[np.float32]] = []
    mentions: list[tuple[int, int]] = []
    mentioned: list[Box] = []
    for row, item in enumerate(items):
        boxed = {}
        targets = (target for turn in item.sample.turns for target in turn.targets)
        for target, mention in zip(targets, item.conversation.mentions, strict=True):
            if target.box is None:
                continue
            box = _as_shown(target.box, item)
            boxed[numbers.setdefault(target.label, len(numbers))] = box
            if mention is not None:
                mentions.append((row, mention))
                mentioned.append(box)
        for index, picture in enumerate(item.pictures):
            which, where = _tokens(boxed if index == 0 else {}, picture.shape[0] // FACTOR, picture.shape[1] // FACTOR)
            shown.append(which)
            places.append(where)
    return Regions(
        tuple(tuple(tokenizer.encode(f" {label}", add_special_tokens=False).ids) for label in numbers),
        torch.from_numpy(np.concatenate(shown)),
        torch.from_numpy(np.concatenate(places)),
        torch.tensor(mentions, dtype=torch.int64).reshape(-1, 2),
        torch.tensor(mentioned, dtype=torch.float32).reshape(-1, 4),
    )


def _as_shown(box: Box, item: Item) -> Box:
    height, width = item.pictures[0].shape[:2]
    x, y = width / item.sample.size[0], height / item.sample.size[1]
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def _tokens(boxed: dict[int, Box], rows: int, columns: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return what each token of a picture shows and where that is, [rows * columns] and [rows * columns, 4]."""
    left, top = np.meshgrid(np.arange(columns) * FACTOR, np.arange(rows) * FACTOR)
    places = np.stack([left, top, left + FACTOR, top + FACTOR], axis=-1).astype(np.float32)
    shown = np.full((rows, columns), NOTHING if boxed else UNKNOWN)
    best = np.full((rows, columns), MIN_SHARE)
    for number, (x1, y1, x2, y2) in boxed.items():
        width = np.clip(np.minimum(left + FACTOR, x2) - np.maximum(left, x1), 0, None)
        height = np.clip(np.minimum(top + FACTOR, y2) - np.maximum(top, y1), 0, None)
        share = width * height / min(FACTOR**2, (x2 - x1) * (y2 - y1))
        more = share > best
        best[more], shown[more], places[more] = share[more], number, (x1, y1, x2, y2)
    return shown.reshape(-1), places.reshape(-1, 4)
