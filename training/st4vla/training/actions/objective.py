"""What stage 2 minimises: the error of the noise that the head predicts in noised chunks of demonstrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from st4vla.contracts.ddim import NUM_TRAIN_TIMESTEPS
from st4vla.contracts.prompts import PromptSpec
from st4vla.training.actions.batches import ActionBatch, collate
from st4vla.training.actions.demonstrations import Demonstrations
from st4vla.training.loop.order import MixtureOrder
from st4vla.training.loop.processes import Processes
from st4vla.training.loop.trainer import Objective, step_seed
from st4vla.training.model.diffusion import diffusion_errors, min_snr_weights
from st4vla.training.model.planner import special_token_id
from st4vla.training.policy import St4vlaPolicy


class ActionObjective:
    """The diffusion loss on a mixture of demonstrations.

    Args:
        policy: What learns.
        tokenizer: Its tokenizer.
        prompt: How it is spoken to.
        sets: The mixture.
        order: Which moment comes when.
        batch_size: Moments in a step, over all processes.
        seed: Of noise, timesteps and delays.
        noise_draws: Noises and timesteps that each moment's plan is used for: the planner is dear, the head is not.
        max_delay: Train for real-time chunking: in each draw the first d actions are shown clean and not learnt, with d
            drawn from 0 to this. (Black et al., "Training-Time Action Conditioning for Efficient Real-Time Chunking",
            2025.) 0 leaves it out.
        weight: Factor on the loss.
        min_snr: Weigh timesteps by `min_snr_weights` with this bound; 0 weighs all alike, as the reference does.
        processes: Those that share the batch.
    """

    def __init__(
        self,
        policy: St4vlaPolicy,
        tokenizer: Tokenizer,
        prompt: PromptSpec,
        sets: Sequence[Demonstrations],
        order: MixtureOrder,
        *,
        batch_size: int,
        seed: int,
        noise_draws: int = 1,
        max_delay: int = 0,
        weight: float = 1.0,
        min_snr: float = 0.0,
        processes: Processes = Processes(),  # noqa: B008 - frozen
    ) -> None:
        self._policy, self._tokenizer, self._prompt = policy, tokenizer, prompt
        self._sets, self._order, self._batch_size, self._seed = sets, order, batch_size, seed
        self._noise_draws, self._max_delay, self._weight = noise_draws, max_delay, weight
        self._timestep_weights = min_snr_weights(min_snr) if min_snr else torch.ones(NUM_TRAIN_TIMESTEPS)
        self._processes = processes
        self._padding_id = special_token_id("<|endoftext|>", policy.config.planner.vocabulary)

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Return the loss of a step's batch under ``action``."""
        draws = self._processes.part(self._order.batch(step, self._batch_size))
        device = next(self._policy.parameters()).device
        moments = [self._sets[draw.dataset][draw.sample] for draw in draws]
        batch = collate(moments, self._prompt, self._tokenizer, self._padding_id, device)
        total, number = self._errors(batch, step)
        return {"action": self._weight * self._processes.mean(total, number)}

    def _errors(self, batch: ActionBatch, step: int) -> tuple[Tensor, Tensor]:
        """Return the sum of the errors of a batch's actions, and how many actions that are."""
        policy, draws = self._policy, self._noise_draws
        plan = policy.plan(batch.views, batch.token_ids, batch.token_mask)
        condition = policy.condition(plan, batch.views, batch.token_mask)
        # One planner, one bridge, several noises: [draws * B, ...], all moments of the first draw first.
        actions, mask = batch.actions.repeat(draws, 1, 1), batch.action_mask.repeat(draws, 1)
        t, noise, prefix_mask = self._noises(step, actions.shape[1:], actions.device)
        errors = diffusion_errors(
            policy.action_model.net, actions, t, noise, condition.repeat(draws, 1, 1), prefix_mask
        )
        learnt = mask & ~prefix_mask
        weights = self._timestep_weights.to(t.device)[t][:, None]
        return (errors * weights * learnt).sum(), learnt.sum()

    def _noises(self, step: int, chunk: torch.Size, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return timesteps [draws * B], noise [draws * B, T, A] and prefix mask [draws * B, T] of this process's part.

        They are drawn for the whole batch, so that they are the same however many processes share it.
        """
        generator = torch.Generator().manual_seed(step_seed(self._seed, step))
        shape = (self._noise_draws, self._batch_size)
        t = torch.randint(NUM_TRAIN_TIMESTEPS, shape, generator=generator)
        noise = torch.randn(*shape, *chunk, generator=generator)
        delay = torch.randint(self._max_delay + 1, shape, generator=generator)
        prefix_mask = torch.arange(chunk[0]) < delay[..., None]
        part = slice(self._processes.rank, None, self._processes.count)
        t, noise, prefix_mask = (each[:, part].flatten(0, 1).to(device) for each in (t, noise, prefix_mask))
        return t, noise, prefix_mask


class JointObjective:
    """Several objectives in one optimiser step: the sum of their losses.

    Args:
        objectives: Each brings its losses under names of its own.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = objectives

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Return the losses of all."""
        return {name: loss for objective in self._objectives for name, loss in objective.losses(step).items()}
