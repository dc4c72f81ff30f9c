"""A checkpoint in eager PyTorch, as its engines are held against."""

from __future__ import annotations

import torch
from torch import Tensor

from st4vla.contracts.ddim import ddim_steps
from st4vla.runtime.engines.engine import Array
from st4vla.training.checkpoint import Checkpoint
from st4vla.training.model.diffusion import ddim_step


class EagerPolicy:
    """Both systems as they were trained, in float32 and without any fold.

    Args:
        checkpoint: The policy, in float32.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._policy = checkpoint.policy

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def plan(self, views: Array, token_ids: Array) -> tuple[Tensor, ...]:
        """Run System 2 on views uint8 [V, H, W, 3] and token_ids int64 [1, L]; return what `act` takes."""
        states: tuple[Tensor, ...] = self._policy.plan(torch.from_numpy(views)[None], torch.from_numpy(token_ids))
        return states

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def act(self, plan: tuple[Tensor, ...], views: Array, noise: Array) -> list[Array]:
        """Run System 1; return the chunk [1, T, A] after each denoising step, the actions last.

        Args:
            plan: Of `plan`.
            views: uint8 [V, H, W, 3].
            noise: Standard normal, float32 [1, T, A].
        """
        net, sampler = self._policy.action_model.net, self._policy.sampler
        condition = self._policy.condition(plan, torch.from_numpy(views)[None])
        if sampler.guidance_scale > 1:
            condition = torch.cat([condition, net.unconditional(1)])
        chunks = [torch.from_numpy(noise)]
        for step in ddim_steps(sampler.num_steps):
            t = torch.full((len(condition),), step.timestep, dtype=torch.int64)
            chunks.append(ddim_step(net, condition, chunks[-1], t, step.coefficients, sampler.guidance_scale))
        return [chunk.numpy() for chunk in chunks[1:]]
