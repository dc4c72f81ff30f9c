"""What stage 1 minimises: the surprise at each of the assistant's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional

from st4vla.training.grounding.batches import GroundingBatch, GroundingSet, collate
from st4vla.training.grounding.conversation import IGNORED
from st4vla.training.grounding.guidance import guidance_losses, require_room
from st4vla.training.grounding.regions import find_regions
from st4vla.training.loop.lengths import LengthGrouped
from st4vla.training.loop.order import MixtureOrder
from st4vla.training.loop.processes import Processes
from st4vla.training.model.planner import hidden_states, special_token_id
from st4vla.training.policy import St4vlaPolicy

ALONE = Processes()


class GroundingObjective:
    """Next-token cross entropy on a mixture of grounding sets.

    Args:
        policy: Whose planner learns.
        sets: The mixture.
        order: Which sample comes when.
        batch_size: Conversations in a step, over all processes.
        weight: Factor on the loss.
        guidance: Weight of the losses of `guidance_losses`; 0 leaves them out.
        length_window: Batches within which conversations are grouped by length, see `LengthGrouped`; 1 groups none.
        processes: Those that share a step.

    Raises:
        UsageError: The batch does not divide among the processes, a size is not positive, or the planner is too small
            for guidance.
    """

    def __init__(
        self,
        policy: St4vlaPolicy,
        sets: Sequence[GroundingSet],
        order: MixtureOrder,
        *,
        batch_size: int,
        weight: float = 1.0,
        guidance: float = 0.0,
        length_window: int = 1,
        processes: Processes = ALONE,
    ) -> None:
        self._policy, self._sets, self._processes = policy, sets, processes
        self._weight, self._guidance = weight, guidance
        if guidance:
            require_room(policy.config.planner.depth, policy.config.planner.dim)
        self._batches = LengthGrouped(
            order, lambda draw: sets[draw.dataset].length(draw.sample), batch_size=batch_size, window=length_window
        )
        processes.part(range(batch_size))
        self._padding_id = special_token_id("<|endoftext|>", policy.config.planner.vocabulary)

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Return the losses of a step's batch: of this process's part, shares of the whole's.

        They are ``grounding`` and, with guidance, those of `guidance_losses`.
        """
        draws = self._processes.part(self._batches.batch(step))
        items = [self._sets[draw.dataset][draw.sample] for draw in draws]
        planner = self._policy.qwen_vl_interface.model
        batch = collate(items, self._padding_id).to(planner.device)
        states = _states(self._policy, batch)
        losses = {"grounding": self._weight * _surprise(self._policy, states[-1], batch, self._processes)}
        if self._guidance:
            regions = find_regions(items, self._sets[0].tokenizer).to(planner.device)
            found = guidance_losses(planner, states, batch.token_ids, regions, self._processes)
            losses |= {name: self._guidance * loss for name, loss in found.items()}
        return losses


def grounding_loss(policy: St4vlaPolicy, batch: GroundingBatch, processes: Processes = ALONE) -> Tensor:
    """Return the mean cross entropy over the labelled tokens of all processes' parts, a scalar share of it."""
    batch = batch.to(policy.qwen_vl_interface.model.device)
    return _surprise(policy, _states(policy, batch)[-1], batch, processes)


def _states(policy: St4vlaPolicy, batch: GroundingBatch) -> tuple[Tensor, ...]:
    planner = policy.qwen_vl_interface.model
    return hidden_states(planner, policy.config.planner, batch.pictures, batch.token_ids, batch.token_mask)


def _surprise(policy: St4vlaPolicy, last: Tensor, batch: GroundingBatch, processes: Processes) -> Tensor:
    """Logits are made for the labelled tokens alone: the vocabulary is far wider than the network."""
    spoken = batch.labels[:, 1:] != IGNORED
    logits = policy.qwen_vl_interface.model.lm_head(last[:, :-1][spoken])
    # In float32, whatever the network's own: a sum over a large vocabulary needs it.
    total = functional.cross_entropy(logits.float(), batch.labels[:, 1:][spoken], reduction="sum")
    return processes.mean(total, spoken.sum())
