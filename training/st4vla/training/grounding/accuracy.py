"""How often a planner finds what it is asked for: the share of boxes with an intersection over union above one half."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tokenizers import Tokenizer

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.answering import answer_greedily
from st4vla.training.grounding.answers import parse_boxes
from st4vla.training.grounding.batches import GroundingSet, Item
from st4vla.training.grounding.conversation import prompt_of
from st4vla.training.grounding.records import Box
from st4vla.training.grounding.samples import Task
from st4vla.training.policy import St4vlaPolicy

THRESHOLD = 0.5
MAX_ANSWER_TOKENS = 80
AT_ONCE = 32
COLUMNS = 6


@dataclass(frozen=True)
class Found:
    """An item that was asked for, the true box and the one that was answered, both in the pixels of the model."""

    item: Item
    true: Box
    answered: Box | None

    @property
    def iou(self) -> float:
        """Intersection over union; 0 where no box was answered."""
        return 0.0 if self.answered is None else intersection_over_union(self.true, self.answered)


def intersection_over_union(first: Box, second: Box) -> float:
    """Return the share of the area that either box covers which both cover."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    both = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return both / (areas - both)


def ask_for_boxes(
    policy: St4vlaPolicy,
    tokenizer: Tokenizer,
    samples: GroundingSet,
    *,
    count: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Found]:
    """Ask a planner for the boxes of some samples.

    Args:
        policy: In evaluation mode.
        tokenizer: Its tokenizer.
        samples: Those of `Task.BOX` are asked; of each the first box counts.
        count: How many, drawn without repetition.
        seed: Which.
        progress: Called with how many are done, and of how many.

    Raises:
        DatasetError: There is no sample of boxes.
    """
    found: list[Found] = []
    candidates = samples.indices_of(Task.BOX)
    if not candidates:
        msg = "none of the samples asks for a box; convert a data set that has boxes"
        raise DatasetError(msg)
    chosen = [int(index) for index in np.random.default_rng(seed).permutation(candidates)[:count]]
    for first in range(0, len(chosen), AT_ONCE):
        items = [samples[index] for index in chosen[first : first + AT_ONCE]]
        prompts = [(item.pictures, prompt_of(item.conversation)) for item in items]
        for item, said in zip(items, answer_greedily(policy, prompts, MAX_ANSWER_TOKENS), strict=True):
            boxes = parse_boxes(tokenizer.decode(said))
            height, width = item.pictures[0].shape[:2]
            left, top, right, bottom = item.sample.turns[0].targets[0].box or (0, 0, 1, 1)
            x, y = width / item.sample.size[0], height / item.sample.size[1]
            true = (left * x, top * y, right * x, bottom * y)
            found.append(Found(item, true, boxes[0].box if boxes else None))
        progress(len(found), len(chosen))
    return found


def accuracy(found: list[Found]) -> float:
    """Return the share of items whose intersection over union is above one half."""
    return sum(each.iou > THRESHOLD for each in found) / len(found)


def draw_boxes(path: Path, found: list[Found]) -> None:
    """Draw the items with the true box in green and the answered one in magenta, some in a row."""
    tiles = []
    for each in found:
        image = Image.fromarray(each.item.pictures[0].numpy())
        draw = ImageDraw.Draw(image)
        draw.rectangle(each.true, outline="lime")
        if each.answered is not None:
            draw.rectangle(each.answered, outline="magenta")
        draw.text((3, 3), f"{each.item.sample.turns[0].targets[0].label} {each.iou:.2f}", fill="black")
        tiles.append(image.resize((224, 224)))
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (224 * min(COLUMNS, len(tiles)), 224 * rows), "white")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (224 * (index % COLUMNS), 224 * (index // COLUMNS)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
