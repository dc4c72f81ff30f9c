"""The sampler as one graph of all its steps: what the step graph is held against. No bundle holds it."""

import torch
from torch import Tensor, nn

from st4vla.contracts.ddim import ddim_steps
from st4vla.export.sampler_graph import SamplerGraph


class UnrolledSampler(nn.Module):  # type: ignore[misc]
    """Map noise [1, T, A] to a chunk of actions [1, T, A]; timesteps and coefficients are constants of the graph.

    Args:
        step: One step; all of them share its weights.
        num_steps: How many; see `sampling_timesteps` for those there are.
    """

    def __init__(self, step: SamplerGraph, num_steps: int) -> None:
        super().__init__()
        self.step, self.num_steps = step, num_steps
        for index, each in enumerate(ddim_steps(num_steps)):
            self.register_buffer(f"timestep_{index}", torch.tensor([each.timestep]))
            self.register_buffer(f"coefficients_{index}", torch.tensor(each.coefficients))

    def forward(self, condition: Tensor, noise: Tensor, prefix: Tensor, prefix_weights: Tensor) -> Tensor:
        """Return the actions; see `SamplerGraph` for what goes in."""
        chunk = noise
        for index in range(self.num_steps):
            timestep, coefficients = self.get_buffer(f"timestep_{index}"), self.get_buffer(f"coefficients_{index}")
            chunk = self.step(condition, chunk, timestep, coefficients, prefix, prefix_weights)
        return chunk
