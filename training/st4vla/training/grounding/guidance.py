"""Losses on the states inside a planner, which teach one of random weights to find things before it can speak.

Next-token prediction alone gives the vision tower a gradient only once the language model looks at pictures, and gives
the language model a reason to look only once the tower's tokens tell things apart: a small planner of random weights
stays in between for long. Qwen2.5-VL needs none of this, for it was pre-trained. Three losses go around it, and none
has a parameter of its own:

- ``naming``: a picture's token resembles the words for what it shows, as in region-word alignment (Li et al.,
  "Grounded Language-Image Pre-training", 2022).
- ``placing``: after a third of the layers, a picture's token knows where that lies.
- ``finding``: after two thirds of the layers, the word in the question knows where its thing lies.

Boxes are known to a state if its first channels hold their code: sine and cosine of each edge, over periods in which
the digits of the answer repeat. Tokens and words are compared in the other channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from st4vla.contracts.errors import UsageError
from st4vla.training.grounding.regions import NOTHING, Regions
from st4vla.training.loop.processes import Processes

#: Pixels after which the code of an edge repeats: a whole picture and more, hundreds, a token and more, tens.
PERIODS_PX = (448.0, 100.0, 40.0, 10.0)
CODE_CHANNELS = 4 * 2 * len(PERIODS_PX)
#: What a token of the background counts beside one that shows a thing, of which there are few.
BACKGROUND_WEIGHT = 0.1
MIN_DEPTH = 3


def box_code(boxes: Tensor) -> Tensor:
    """Return the code of boxes [..., 4] in pixels: [..., CODE_CHANNELS], each between -1 and 1."""
    angles = boxes[..., None] * (2 * math.pi / boxes.new_tensor(PERIODS_PX))
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def require_room(depth: int, dim: int) -> None:
    """Refuse a planner that has no layers or channels for these losses.

    Raises:
        UsageError: It is too flat or too narrow.
    """
    if depth < MIN_DEPTH or dim <= CODE_CHANNELS:
        msg = (
            f"guidance needs a planner of at least {MIN_DEPTH} layers and more than {CODE_CHANNELS} channels; this one "
            f"has {depth} and {dim}; set guidance to 0, or begin with a larger preset"
        )
        raise UsageError(msg)


def guidance_losses(
    planner: Any, states: Sequence[Tensor], token_ids: Tensor, regions: Regions, processes: Processes
) -> Mapping[str, Tensor]:
    """Return ``naming``, ``placing`` and ``finding``: of this process's part, shares of the means over all.

    Args:
        planner: From `build_planner`, of at least `MIN_DEPTH` layers and more than `CODE_CHANNELS` channels.
        states: All its hidden states for a batch, from `hidden_states`.
        token_ids: int64 [B, L], what it read.
        regions: Of the same batch, on the same device.
        processes: Those that share the step.
    """
    depth, slots = len(states) - 1, token_ids == planner.model.config.image_token_id
    known = regions.shown >= NOTHING
    shows = regions.shown >= 0
    names = _names(planner, states[0][slots], regions)
    placed = _missed(states[depth // 3][slots], regions.places)
    weight = torch.where(shows, 1.0, BACKGROUND_WEIGHT) * known
    rows, columns = regions.mentions.unbind(1)
    found = _missed(states[2 * depth // 3][rows, columns], regions.mentioned)
    return {
        "naming": (
            processes.mean((names * shows).sum(), shows.sum())
            + processes.mean((names * (known & ~shows)).sum(), (known & ~shows).sum())
        )
        / 2,
        "placing": processes.mean((placed * weight).sum(), weight.sum()),
        "finding": processes.mean(found.sum(), regions.mentions.new_tensor(len(found))),
    }


def _names(planner: Any, tokens: Tensor, regions: Regions) -> Tensor:
    """Return the surprise of each picture token [N] at the phrase that it shows, or at none of the batch's phrases."""
    embed = planner.get_input_embeddings()
    nothing = tokens.new_zeros(len(tokens), 1)
    if not regions.phrases:
        return nothing[:, 0]
    words = (embed(regions.shown.new_tensor(phrase)) for phrase in regions.phrases)
    phrases = torch.stack([each.mean(dim=0) for each in words])[:, CODE_CHANNELS:]
    scores = tokens[:, CODE_CHANNELS:] @ phrases.T / math.sqrt(phrases.shape[1])
    scores = torch.cat([nothing, scores], dim=1)
    return functional.cross_entropy(scores.float(), (regions.shown + 1).clamp(min=0), reduction="none")


def _missed(states: Tensor, boxes: Tensor) -> Tensor:
    """Return how far the code in states [N, dim] is from that of boxes [N, 4], the mean square over its channels."""
    return (states[:, :CODE_CHANNELS].float() - box_code(boxes)).square().mean(dim=1)
