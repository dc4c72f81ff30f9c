"""System 1's second graph: a condition, noise and a frozen prefix to a chunk of actions."""

import torch
from torch import Tensor, nn

from st4vla.training.model.diffusion import NUM_TRAIN_TIMESTEPS, ddim_sample
from st4vla.training.policy import St4vlaPolicy


class HoistedTransformer(nn.Module):  # type: ignore[misc]
    """The diffusion transformer for condition tokens that are embedded already, with timesteps from a table."""

    def __init__(self, policy: St4vlaPolicy) -> None:
        super().__init__()
        net = policy.action_model.net
        self.x_embedder, self.blocks, self.final_layer = net.x_embedder, net.blocks, net.final_layer
        self.horizon = net.horizon
        with torch.no_grad():
            self.register_buffer("timesteps", net.t_embedder(torch.arange(NUM_TRAIN_TIMESTEPS)).clone())
            self.register_buffer("uncondition", net.z_embedder(net.unconditional(1)).clone())
            self.register_buffer("positions", net.positional_embedding.detach().clone())

    def forward(self, x: Tensor, t: Tensor, embedded: Tensor) -> Tensor:
        """Return the predicted noise [B, T, A] for noisy actions [B, T, A] and embedded condition [B, Q, D]."""
        tokens = torch.cat([self.timesteps[t][:, None] + embedded, self.x_embedder(x)], dim=1) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.final_layer(tokens[:, -self.horizon :])

    def unconditional(self, batch_size: int) -> Tensor:
        """Return the embedded tokens [batch_size, Q, D] that stand for no condition."""
        return self.uncondition.expand(batch_size, -1, -1)


class SamplerGraph(nn.Module):  # type: ignore[misc]
    """Map condition [1, Q, D], noise and prefix [1, T, A] and prefix_weights [1, T] to actions [1, T, A]."""

    def __init__(self, policy: St4vlaPolicy) -> None:
        super().__init__()
        self.sampler = policy.sampler
        self.z_linear = policy.action_model.net.z_embedder.linear
        self.transformer = HoistedTransformer(policy)

    def forward(self, condition: Tensor, noise: Tensor, prefix: Tensor, prefix_weights: Tensor) -> Tensor:
        """Return actions [1, T, A], normalised."""
        return ddim_sample(
            self.transformer,
            self.z_linear(condition),
            noise,
            self.sampler.num_steps,
            self.sampler.guidance_scale,
            prefix,
            prefix_weights,
            clean_prefix=self.sampler.clean_prefix,
        )
