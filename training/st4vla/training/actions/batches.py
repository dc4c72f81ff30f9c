"""Moments as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from st4vla.contracts.errors import DatasetError
from st4vla.contracts.prompts import PromptSpec
from st4vla.training.actions.demonstrations import Moment


@dataclass(frozen=True)
class ActionBatch:
    """Moments, and the prompts that the planner reads.

    Attributes:
        views: RGB uint8 [B, V, H, W, 3].
        token_ids: int64 [B, L], padded on the right.
        token_mask: bool [B, L], False on padding.
        actions: Normalised chunks, float32 [B, T, A].
        action_mask: bool [B, T], False past an episode's end.
    """

    views: Tensor
    token_ids: Tensor
    token_mask: Tensor
    actions: Tensor
    action_mask: Tensor


def collate(
    moments: Sequence[Moment], prompt: PromptSpec, tokenizer: Tokenizer, padding_id: int, device: torch.device | str
) -> ActionBatch:
    """Join moments into a batch on a device.

    Raises:
        DatasetError: A prompt is longer than the policy takes.
        PromptError: An instruction is empty or holds a special token.
    """
    prompts = [tokenizer.encode(prompt.render(moment.instruction), add_special_tokens=False).ids for moment in moments]
    length = max(map(len, prompts))
    if length > prompt.max_tokens:
        msg = f"a prompt of {length} tokens, the policy takes {prompt.max_tokens}; shorten the instruction"
        raise DatasetError(msg)
    token_ids = torch.full((len(prompts), length), padding_id)
    mask = torch.zeros(len(prompts), length, dtype=torch.bool)
    for row, ids in enumerate(prompts):
        token_ids[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = True
    whole = (
        torch.stack([moment.views for moment in moments]),
        token_ids,
        mask,
        torch.stack([moment.actions for moment in moments]),
        torch.stack([moment.mask for moment in moments]),
    )
    return ActionBatch(*(each.to(device) for each in whole))
