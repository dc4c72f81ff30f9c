"""What stage 1 minimises: the surprise at each of the assistant's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from st4vla.training.grounding.batches import GroundingBatch, GroundingSet, collate
from st4vla.training.grounding.conversation import IGNORED
from st4vla.training.loop.order import MixtureOrder
from st4vla.training.model.planner import hidden_states, patchify, special_token_id
from st4vla.training.policy import St4vlaPolicy


class GroundingObjective:
    """Next-token cross entropy on a mixture of grounding sets.

    Args:
        policy: Whose planner learns.
        sets: The mixture.
        order: Which sample comes when.
        batch_size: Conversations in a step.
        weight: Factor on the loss.
    """

    def __init__(
        self,
        policy: St4vlaPolicy,
        sets: Sequence[GroundingSet],
        order: MixtureOrder,
        *,
        batch_size: int,
        weight: float = 1.0,
    ) -> None:
        self._policy, self._sets, self._order = policy, sets, order
        self._batch_size, self._weight = batch_size, weight
        self._padding_id = special_token_id("<|endoftext|>", policy.config.planner.vocabulary)

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Return the loss of a step's batch under ``grounding``."""
        draws = self._order.batch(step, self._batch_size)
        batch = collate([self._sets[draw.dataset][draw.sample] for draw in draws], self._padding_id)
        return {"grounding": self._weight * grounding_loss(self._policy, batch)}


def grounding_loss(policy: St4vlaPolicy, batch: GroundingBatch) -> Tensor:
    """Return the mean cross entropy over the labelled tokens, a scalar.

    Logits are made for those tokens alone: the vocabulary is far wider than the network.
    """
    planner = policy.qwen_vl_interface.model
    states = hidden_states(planner, policy.config.planner, batch.pictures, batch.token_ids, batch.token_mask)
    spoken = batch.labels[:, 1:] != IGNORED
    logits = planner.lm_head(states[-1][:, :-1][spoken])
    # In float32, whatever the network's own: a sum over a large vocabulary needs it.
    return functional.cross_entropy(logits.float(), batch.labels[:, 1:][spoken])


def answer_greedily(
    policy: St4vlaPolicy, pictures: Sequence[Tensor], prompt: Sequence[int], max_tokens: int
) -> list[int]:
    """Return the tokens that the planner says after a prompt, without the mark that ends them.

    Args:
        policy: In evaluation mode.
        pictures: The prompt's, RGB uint8 [H, W, 3].
        prompt: Token ids.
        max_tokens: Stop after this many.
    """
    planner, config = policy.qwen_vl_interface.model, policy.config.planner
    patches = [patchify(picture[None], config.vision) for picture in pictures]
    sides = [[1, *(side // config.vision.patch_size for side in picture.shape[:2])] for picture in pictures]
    token_ids = torch.tensor([list(prompt)])
    end = special_token_id("<|im_end|>", config.vocabulary)
    with torch.no_grad():
        # Hugging Face's own loop, for its cache of keys and values.
        said: Tensor = planner.generate(
            input_ids=token_ids,
            attention_mask=torch.ones_like(token_ids),
            pixel_values=torch.cat(patches).to(planner.dtype),
            image_grid_thw=torch.tensor(sides),
            max_new_tokens=max_tokens,
            do_sample=False,
            use_cache=True,
            eos_token_id=end,
            pad_token_id=end,
        )[0, len(prompt) :]
    answer: list[int] = said.tolist()
    return answer[: answer.index(end)] if end in answer else answer
