"""The joint step as a plain loop over Hugging Face's own forward: what `throughput` measures this project against.

It is written as a user of the reference writes it: one call of `Qwen2_5_VLForConditionalGeneration` for each batch, its
own loss for the conversations, its hidden states for the actions, two backward passes, one clip, one optimiser step.
The vision encoder, the bridge and the head are the same modules as in `St4vlaPolicy`. Pictures are prepared before,
as by a data loader with as many workers as it takes, so no time goes into them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Tensor, nn

from st4vla.contracts.ddim import NUM_TRAIN_TIMESTEPS
from st4vla.contracts.model_config import VisionConfig
from st4vla.training.actions.batches import ActionBatch
from st4vla.training.grounding.batches import GroundingBatch
from st4vla.training.loop.trainer import step_seed
from st4vla.training.model.diffusion import diffusion_loss
from st4vla.training.model.planner import normalize_views, patchify
from st4vla.training.policy import IMAGENET_MEAN, IMAGENET_STD, St4vlaPolicy

B = TypeVar("B", "EagerActions", "EagerConversations")


@dataclass(frozen=True)
class EagerActions:
    """Moments as Hugging Face's processor and the encoder's transforms hand them over.

    Attributes:
        input_ids: int64 [B, L], padded on the right.
        attention_mask: int64 [B, L], 0 on padding.
        pixel_values: Normalised patches, float32 [B * V * P, 3 * 2 * patch * patch].
        image_grid_thw: int64 [B * V, 3], patches of each view over time, height and width.
        images: Normalised for the encoder, float32 [B * V, 3, H, W].
        actions: Normalised chunks, float32 [B, T, A].
        action_mask: bool [B, T], False past an episode's end.
    """

    input_ids: Tensor
    attention_mask: Tensor
    pixel_values: Tensor
    image_grid_thw: Tensor
    images: Tensor
    actions: Tensor
    action_mask: Tensor


@dataclass(frozen=True)
class EagerConversations:
    """Conversations as Hugging Face's processor hands them over; fields as in `EagerActions`.

    Attributes:
        labels: int64 [B, L], -100 where there is nothing to learn.
    """

    input_ids: Tensor
    attention_mask: Tensor
    pixel_values: Tensor
    image_grid_thw: Tensor
    labels: Tensor


def prepare_actions(batch: ActionBatch, vision: VisionConfig) -> EagerActions:
    """Return a batch of moments as the plain loop takes it."""
    views = batch.views.flatten(0, 1)
    return EagerActions(
        batch.token_ids,
        batch.token_mask.to(torch.int64),
        patchify(views, vision),
        _grid(list(views), vision),
        # Of the layout that stacked pictures have.
        normalize_views(views, IMAGENET_MEAN, IMAGENET_STD).contiguous(),
        batch.actions,
        batch.action_mask,
    )


def prepare_conversations(batch: GroundingBatch, vision: VisionConfig) -> EagerConversations:
    """Return a batch of conversations as the plain loop takes it."""
    patches = torch.cat([patchify(picture[None], vision) for picture in batch.pictures])
    grid = _grid(batch.pictures, vision)
    return EagerConversations(batch.token_ids, batch.token_mask.to(torch.int64), patches, grid, batch.labels)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Return the context in which both sides compute their losses: autocast, or nothing in float32."""
    if dtype == torch.float32:
        return nullcontext()
    context: AbstractContextManager[object] = torch.autocast(device.type, dtype=dtype)
    return context


class EagerTraining:
    """The plain loop; a step takes the prepared batches in turn.

    Args:
        policy: Holds the networks; its planner is called as Hugging Face made it.
        optimiser: Over its parameters.
        batches: Prepared moments and conversations, in main memory.
        seed: Of noise and timesteps, so that they are those of an `ActionObjective` with that seed.
        noise_draws: Noises and timesteps for each moment.
        weight: Factor on the loss of the conversations.
        clip_norm: Largest norm of the gradient.

    Attributes:
        dtype: What forward passes compute in, float32 at first.
    """

    def __init__(
        self,
        policy: St4vlaPolicy,
        optimiser: torch.optim.Optimizer,
        batches: Sequence[tuple[EagerActions, EagerConversations]],
        *,
        seed: int,
        noise_draws: int,
        weight: float,
        clip_norm: float,
    ) -> None:
        self.policy, self.optimiser = policy, optimiser
        self._batches, self._seed, self._noise_draws = batches, seed, noise_draws
        self._weight, self._clip_norm, self.dtype = weight, clip_norm, torch.float32
        self._device = next(policy.parameters()).device
        self._learning = [parameter for group in optimiser.param_groups for parameter in group["params"]]

    def action_loss(self, step: int) -> Tensor:
        """Return the diffusion loss of a step's moments, a scalar."""
        batch = _move(self._batches[step % len(self._batches)][0], self._device)
        policy, bridge, draws = self.policy, self.policy.config.bridge, self._noise_draws
        generator = torch.Generator().manual_seed(step_seed(self._seed, step))
        moments = batch.actions.shape[0]
        t = torch.randint(NUM_TRAIN_TIMESTEPS, (draws * moments,), generator=generator).to(self._device)
        noise = torch.randn(draws * moments, *batch.actions.shape[1:], generator=generator).to(self._device)
        with autocast(self._device, self.dtype):
            output = policy.qwen_vl_interface.model(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                pixel_values=batch.pixel_values,
                image_grid_thw=batch.image_grid_thw,
                output_hidden_states=True,
            )
            plan = output.hidden_states[bridge.start_layer : bridge.end_layer]
            visual = policy.dino_encoder.body(batch.images).unflatten(0, (moments, -1)).flatten(1, 2)
            condition = policy.layer_qformer(plan, batch.attention_mask.bool(), policy.dino_pro(visual))
            return diffusion_loss(
                policy.action_model.net,
                batch.actions.repeat(draws, 1, 1),
                t,
                noise,
                condition.repeat(draws, 1, 1),
                batch.action_mask.repeat(draws, 1),
            )

    def grounding_loss(self, step: int) -> Tensor:
        """Return the weighted cross entropy of a step's conversations, a scalar."""
        batch = _move(self._batches[step % len(self._batches)][1], self._device)
        with autocast(self._device, self.dtype):
            output = self.policy.qwen_vl_interface.model(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                pixel_values=batch.pixel_values,
                image_grid_thw=batch.image_grid_thw,
                labels=batch.labels,
            )
        loss: Tensor = self._weight * output.loss
        return loss

    def backward(self, step: int) -> tuple[Tensor, Tensor]:
        """Add the gradients of both losses, one pass after the other; return the losses without their graphs."""
        action = self.action_loss(step)
        action.backward()
        grounding = self.grounding_loss(step)
        grounding.backward()
        return action.detach(), grounding.detach()

    def take_step(self, step: int) -> float:
        """Take an optimiser step; return the sum of the losses, as a loop logs it."""
        # With the trainer's seed, dropout is the same on both sides.
        torch.manual_seed(step_seed(self._seed, step))
        self.optimiser.zero_grad(set_to_none=True)
        losses = self.backward(step)
        nn.utils.clip_grad_norm_(self._learning, self._clip_norm)
        self.optimiser.step()
        return float(sum(losses))


def _grid(pictures: Sequence[Tensor], vision: VisionConfig) -> Tensor:
    patch = vision.patch_size
    return torch.tensor([[1, picture.shape[0] // patch, picture.shape[1] // patch] for picture in pictures])


def _move(batch: B, device: torch.device) -> B:
    return type(batch)(*(getattr(batch, field.name).to(device) for field in fields(batch)))
