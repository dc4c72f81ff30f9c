"""Samples of random pixels, with prompts of unequal lengths: what both sides of `throughput` are timed on."""

from __future__ import annotations

import json

import torch
from tokenizers import AddedToken, Tokenizer

from st4vla.contracts.model_config import ModelConfig
from st4vla.training.actions.demonstrations import Moment
from st4vla.training.grounding.batches import Item
from st4vla.training.grounding.conversation import encode
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn
from st4vla.training.model.planner import SPECIAL_TOKENS, special_token_id
from st4vla.training.tokenizer import train_tokenizer

_INSTRUCTIONS = ("pick up the red cube", "push the blue bowl to the right and then open the wooden drawer")
_LABELS = ("red cube", "green cylinder", "blue ball")


def synthetic_tokenizer(vocabulary: int) -> Tokenizer:
    """Return the built-in tokenizer with its special tokens at the ids that they have in a vocabulary of that size."""
    stored = json.loads(train_tokenizer().to_str())
    words = stored["model"]["vocab"]
    first = special_token_id(SPECIAL_TOKENS[0], vocabulary)
    # Special tokens follow the last word; those in between never come up.
    words.update({f"<unused {number}>": number for number in range(len(words), first)})
    stored["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(stored))
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    return tokenizer


def synthetic_moments(count: int, views: int, side: int, chunk: tuple[int, int], *, seed: int) -> list[Moment]:
    """Return moments of random pixels and actions; prompts differ in length, and some chunks end early.

    Args:
        count: How many.
        views: V, pictures of each.
        side: Pixels of a picture's side.
        chunk: T and A, actions and numbers of each.
        seed: Of all that is random.
    """
    generator = torch.Generator().manual_seed(seed)
    return [
        Moment(
            torch.randint(256, (views, side, side, 3), dtype=torch.uint8, generator=generator),
            _INSTRUCTIONS[number % 2] + " and wait" * (number % 3),
            torch.rand(chunk, generator=generator) * 2 - 1,
            torch.arange(chunk[0]) < chunk[0] - number % 4,
        )
        for number in range(count)
    ]


def synthetic_items(count: int, model: ModelConfig, tokenizer: Tokenizer, *, seed: int) -> list[Item]:
    """Return conversations about one picture of random pixels each, with answers of one to three boxes."""
    generator = torch.Generator().manual_seed(seed)
    side, items = model.image_size, []
    for number in range(count):
        corners = torch.randint(1, side // 2, (len(_LABELS), 4), generator=generator).tolist()
        targets = [
            Target(label, box=(left, top, left + width, top + height))
            for label, (left, top, width, height) in zip(_LABELS, corners, strict=True)
        ][: 1 + number % len(_LABELS)]
        turn = Turn("Locate " + ", ".join(target.label for target in targets) + ".", targets=tuple(targets))
        sample = GroundingSample(str(number), Task.BOX, ("random.png",), (side, side), (turn,))
        picture = torch.randint(256, (side, side, 3), dtype=torch.uint8, generator=generator)
        conversation = encode(sample, tokenizer, [model.tokens_per_view], (side, side))
        items.append(Item(sample, conversation, (picture,)))
    return items
