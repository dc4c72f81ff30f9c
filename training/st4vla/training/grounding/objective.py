"""What stage 1 minimises: the surprise at each of the assistant's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional

from st4vla.training.grounding.batches import GroundingBatch, GroundingSet, collate
from st4vla.training.grounding.conversation import IGNORED
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
        length_window: Batches within which conversations are grouped by length, see `LengthGrouped`; 1 groups none.
        processes: Those that share a step.

    Raises:
        UsageError: The batch does not divide among the processes, or a size is not positive.
    """

    def __init__(
        self,
        policy: St4vlaPolicy,
        sets: Sequence[GroundingSet],
        order: MixtureOrder,
        *,
        batch_size: int,
        weight: float = 1.0,
        length_window: int = 1,
        processes: Processes = ALONE,
    ) -> None:
        self._policy, self._sets, self._weight, self._processes = policy, sets, weight, processes
        self._batches = LengthGrouped(
            order, lambda draw: sets[draw.dataset].length(draw.sample), batch_size=batch_size, window=length_window
        )
        processes.part(range(batch_size))
        self._padding_id = special_token_id("<|endoftext|>", policy.config.planner.vocabulary)

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Return the loss of a step's batch under ``grounding``: of this process's part, a share of the whole's."""
        draws = self._processes.part(self._batches.batch(step))
        batch = collate([self._sets[draw.dataset][draw.sample] for draw in draws], self._padding_id)
        return {"grounding": self._weight * grounding_loss(self._policy, batch, self._processes)}


def grounding_loss(policy: St4vlaPolicy, batch: GroundingBatch, processes: Processes = ALONE) -> Tensor:
    """Return the mean cross entropy over the labelled tokens of all processes' parts, a scalar share of it.

    Logits are made for those tokens alone: the vocabulary is far wider than the network.
    """
    planner = policy.qwen_vl_interface.model
    batch = batch.to(planner.device)
    states = hidden_states(planner, policy.config.planner, batch.pictures, batch.token_ids, batch.token_mask)
    spoken = batch.labels[:, 1:] != IGNORED
    logits = planner.lm_head(states[-1][:, :-1][spoken])
    # In float32, whatever the network's own: a sum over a large vocabulary needs it.
    total = functional.cross_entropy(logits.float(), batch.labels[:, 1:][spoken], reduction="sum")
    return processes.mean(total, spoken.sum())
