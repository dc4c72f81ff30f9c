"""System 1's second graph: one denoising step, which the runtime runs as often as it samples with.

What is the same in all steps is not in it: the condition comes embedded from the bridge's graph.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from st4vla.contracts.ddim import NUM_TRAIN_TIMESTEPS, DdimCoefficients
from st4vla.export.linears import linear_of
from st4vla.training.model.diffusion import ddim_step
from st4vla.training.model.diffusion_transformer import Block
from st4vla.training.policy import St4vlaPolicy


class LastBlock(nn.Module):  # type: ignore[misc]
    """A transformer's last block for the tokens that are read after it: it asks for those alone."""

    def __init__(self, block: Block, count: int) -> None:
        super().__init__()
        self.count = count
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.num_heads, self.proj = block.attn.num_heads, block.attn.proj
        qkv = block.attn.qkv
        width = qkv.in_features
        self.query = linear_of(qkv.weight[:width], qkv.bias[:width])
        self.key_value = linear_of(qkv.weight[width:], qkv.bias[width:])

    def forward(self, x: Tensor) -> Tensor:
        """Return the last `count` tokens of what the block makes of tokens [B, N, D]."""
        seen = self.norm1(x)
        query = self.query(seen[:, -self.count :]).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        key, value = self.key_value(seen).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x[:, -self.count :] + self.proj(attended)
        return x + self.mlp(self.norm2(x))


class HoistedTransformer(nn.Module):  # type: ignore[misc]
    """The diffusion transformer for condition tokens that are embedded already, with timesteps from a table."""

    def __init__(self, policy: St4vlaPolicy) -> None:
        super().__init__()
        net = policy.action_model.net
        self.x_embedder, self.final_layer = net.x_embedder, net.final_layer
        self.blocks = nn.ModuleList([*net.blocks[:-1], LastBlock(net.blocks[-1], net.horizon)])
        with torch.no_grad():
            self.register_buffer("timesteps", net.t_embedder(torch.arange(NUM_TRAIN_TIMESTEPS)).clone())
            self.register_buffer("positions", net.positional_embedding.detach().clone())

    def forward(self, x: Tensor, t: Tensor, embedded: Tensor) -> Tensor:
        """Return the predicted noise [B, T, A] for noisy actions [B, T, A] and embedded condition [B, Q, D]."""
        tokens = (
            torch.cat([self.timesteps.index_select(0, t)[:, None] + embedded, self.x_embedder(x)], dim=1)
            + self.positions
        )
        for block in self.blocks:
            tokens = block(tokens)
        return self.final_layer(tokens)


class SamplerGraph(nn.Module):  # type: ignore[misc]
    """Map a chunk [1, T, A] to the chunk of the next step.

    Guidance and what is done with a prefix are the policy's own and part of the graph; timestep and coefficients are
    inputs, so that the number of steps is chosen where it runs.
    """

    def __init__(self, policy: St4vlaPolicy) -> None:
        super().__init__()
        self.sampler = policy.sampler
        net = policy.action_model.net
        self.transformer = HoistedTransformer(policy)
        with torch.no_grad():
            self.register_buffer("unconditional", net.z_embedder.linear(net.unconditional(1)).clone())

    def forward(  # noqa: PLR0917 - inputs of the graph
        self,
        condition: Tensor,
        chunk: Tensor,
        timestep: Tensor,
        coefficients: Tensor,
        prefix: Tensor,
        prefix_weights: Tensor,
    ) -> Tensor:
        """Return the next chunk [1, T, A], float32.

        Args:
            condition: Embedded condition tokens [1, Q, D], as the bridge's graph returns them.
            chunk: Noise at first, then what the step before returned: [1, T, A].
            timestep: int64 [1].
            coefficients: Those of the step, float32 [5], in the order of `DdimCoefficients`.
            prefix: Normalised actions to hold to, [1, T, A].
            prefix_weights: How firmly, [1, T] in [0, 1].
        """
        if self.sampler.guidance_scale > 1:
            condition = torch.cat([condition, self.unconditional])
        return ddim_step(
            self.transformer,
            condition,
            chunk,
            timestep,
            DdimCoefficients(*coefficients.unbind()),
            self.sampler.guidance_scale,
            prefix,
            prefix_weights,
            clean_prefix=self.sampler.clean_prefix,
        )
