"""How far sampled chunks are from those of demonstrations, beside what a guess that sees nothing would miss by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from st4vla.contracts.errors import DatasetError
from st4vla.contracts.prompts import PromptSpec
from st4vla.training.actions.batches import collate
from st4vla.training.actions.demonstrations import Demonstrations
from st4vla.training.model.planner import special_token_id
from st4vla.training.policy import St4vlaPolicy

AT_ONCE = 32

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ActionError:
    """Errors over the unmasked actions of some moments, normalised units, averaged over dimensions.

    Attributes:
        squared: Mean squared error of the policy.
        absolute: Mean absolute error of the policy.
        mean_chunk_squared: Mean squared error of always answering the training set's mean chunk.
        mean_chunk_absolute: Its mean absolute error.
        moments: How many chunks were sampled.
    """

    squared: float
    absolute: float
    mean_chunk_squared: float
    mean_chunk_absolute: float
    moments: int

    @property
    def squared_ratio(self) -> float:
        """Squared error relative to the mean chunk's; 0 is perfect, 1 no better than seeing nothing."""
        return self.squared / self.mean_chunk_squared

    @property
    def absolute_ratio(self) -> float:
        """Absolute error relative to the mean chunk's."""
        return self.absolute / self.mean_chunk_absolute


def mean_chunk(demonstrations: Demonstrations) -> Floats:
    """Return the mean of all chunks, [T, A]: for each action of a chunk, over the moments that have it.

    Raises:
        DatasetError: There are no moments.
    """
    if not len(demonstrations):
        msg = "the mean chunk of no moments at all; the split holds no episodes"
        raise DatasetError(msg)
    chunks = [demonstrations.chunk(index) for index in range(len(demonstrations))]
    mask = np.stack([mask for _, mask in chunks])[..., None]
    total = (np.stack([actions for actions, _ in chunks]) * mask).sum(axis=0)
    mean: Floats = (total / np.maximum(mask.sum(axis=0), 1)).astype(np.float32)
    return mean


def measure_action_error(
    policy: St4vlaPolicy,
    tokenizer: Tokenizer,
    prompt: PromptSpec,
    held_out: Sequence[tuple[Demonstrations, Floats]],
    *,
    count: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ActionError:
    """Sample chunks for held-out moments and compare.

    Args:
        policy: In evaluation mode.
        tokenizer: Its tokenizer.
        prompt: How it is spoken to.
        held_out: Sets of moments, each with the mean chunk of its embodiment's training set.
        count: Moments, drawn without repetition from all sets together.
        seed: Which moments, and the noise that chunks are sampled from.
        progress: Called with how many are done, and of how many.

    Raises:
        DatasetError: There are no moments.
    """
    places = [(number, index) for number, (moments, _) in enumerate(held_out) for index in range(len(moments))]
    if not places:
        msg = "no held-out moments; name a split that has episodes"
        raise DatasetError(msg)
    order = np.random.default_rng(seed).permutation(len(places))[:count]
    generator = torch.Generator().manual_seed(seed)
    padding_id = special_token_id("<|endoftext|>", policy.config.planner.vocabulary)
    device = next(policy.parameters()).device
    sums, actions_seen = np.zeros(4), 0
    for first in range(0, len(order), AT_ONCE):
        chosen = [places[place] for place in order[first : first + AT_ONCE]]
        batch = collate([held_out[number][0][index] for number, index in chosen], prompt, tokenizer, padding_id, device)
        noise = torch.randn(batch.actions.shape, generator=generator).to(device)
        with torch.no_grad():
            sampled = policy.act(batch.views, batch.token_ids, noise, token_mask=batch.token_mask)
        guessed = np.stack([held_out[number][1] for number, _ in chosen])
        true, mask = batch.actions.cpu().numpy(), batch.action_mask.cpu().numpy()
        for place, answer in ((0, sampled.float().cpu().numpy()), (2, guessed)):
            missed = (answer - true)[mask]
            sums[place] += np.square(missed).mean(axis=-1).sum()
            sums[place + 1] += np.abs(missed).mean(axis=-1).sum()
        actions_seen += int(mask.sum())
        progress(first + len(chosen), len(order))
    squared, absolute, guess_squared, guess_absolute = (float(value) for value in sums / actions_seen)
    return ActionError(squared, absolute, guess_squared, guess_absolute, len(order))
