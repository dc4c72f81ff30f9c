"""Predict the noise in an action chunk, given the condition tokens of the querying transformer.

The condition tokens and the noisy actions form one sequence for plain pre-norm self-attention blocks; the timestep is
added to the condition tokens. Parameter names are those of the published InternVLA-M1 checkpoints.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPS = 1e-6
MLP_RATIO = 4
FREQUENCY_DIM = 256
MAX_PERIOD = 10_000.0


def sinusoidal_embedding(t: Tensor, dim: int = FREQUENCY_DIM) -> Tensor:
    """Return [B, dim] float32: cosines, then sines, of timesteps t [B] at periods from 2 pi to 2 pi MAX_PERIOD."""
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t[:, None].float() * torch.exp(-math.log(MAX_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class LinearEmbedder(nn.Module):  # type: ignore[misc]
    """Embed actions [B, T, action_dim] as tokens [B, T, dim]."""

    def __init__(self, action_dim: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(action_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens [B, T, dim]."""
        return self.linear(x)


class TimestepEmbedder(nn.Module):  # type: ignore[misc]
    """Embed timesteps t [B] as [B, dim]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(FREQUENCY_DIM, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        """Return [B, dim] for original timesteps t [B] (0 is the least noisy)."""
        return self.mlp(sinusoidal_embedding(t).to(self.mlp[0].weight.dtype))


class ConditionEmbedder(nn.Module):  # type: ignore[misc]
    """Embed condition tokens, in training replacing some samples' by the learned unconditional ones.

    The replacement comes before the linear layer, so unconditional tokens pass through it like any others.
    """

    def __init__(self, num_tokens: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.uncondition = nn.Parameter(torch.randn(num_tokens, dim) * dim**-0.5)
        self.linear = nn.Linear(dim, dim)

    def forward(self, condition: Tensor) -> Tensor:
        """Return embedded condition tokens [B, Q, dim]."""
        if self.training and self.dropout > 0:
            dropped = torch.rand(condition.shape[0], 1, 1, device=condition.device) < self.dropout
            condition = torch.where(dropped, self.uncondition.to(condition.dtype), condition)
        return self.linear(condition)


class SelfAttention(nn.Module):  # type: ignore[misc]
    """Attend between all tokens, in both directions."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"width {dim} does not divide into {num_heads} heads; choose a divisor of the width")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, N, D] for tokens [B, N, D]."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):  # type: ignore[misc]
    """Apply a two-layer MLP; `approximate` is that of `torch.nn.functional.gelu`."""

    def __init__(self, dim: int, approximate: str) -> None:
        super().__init__()
        self.approximate = approximate
        self.fc1 = nn.Linear(dim, MLP_RATIO * dim)
        self.fc2 = nn.Linear(MLP_RATIO * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, N, D] for tokens [B, N, D]."""
        return self.fc2(functional.gelu(self.fc1(x), approximate=self.approximate))


class Block(nn.Module):  # type: ignore[misc]
    """Add self-attention and an MLP, each after a layer norm without parameters."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS, elementwise_affine=False)
        self.attn = SelfAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS, elementwise_affine=False)
        self.mlp = FeedForward(dim, "tanh")

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, N, D] for tokens [B, N, D]."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class FinalLayer(nn.Module):  # type: ignore[misc]
    """Normalise tokens [B, N, D] and map them to actions [B, N, action_dim]."""

    def __init__(self, dim: int, action_dim: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(dim, eps=LAYER_NORM_EPS, elementwise_affine=False)
        self.linear = nn.Linear(dim, action_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, N, action_dim]."""
        return self.linear(self.norm_final(x))


class DiffusionTransformer(nn.Module):  # type: ignore[misc]
    """Predict the noise in a chunk of actions.

    Args:
        action_dim: Numbers per action, A.
        horizon: Actions per chunk, T.
        dim: Width, D; also that of the condition tokens.
        depth: Number of blocks.
        num_heads: Attention heads.
        num_condition_tokens: Condition tokens, Q.
        condition_dropout: Probability, in training, of replacing a sample's condition by the unconditional one.

    Raises:
        ValueError: The width does not divide into the heads.
    """

    def __init__(  # noqa: PLR0917 - sizes, in the order of the data
        self,
        action_dim: int,
        horizon: int,
        dim: int,
        depth: int,
        num_heads: int,
        num_condition_tokens: int,
        *,
        condition_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.horizon = horizon
        self.positional_embedding = nn.Parameter(torch.randn(num_condition_tokens + horizon, dim) * dim**-0.5)
        # Published checkpoints hold a history embedder, but nothing calls it: it is here to load them strictly.
        self.history_embedder = LinearEmbedder(action_dim, dim).requires_grad_(False)
        self.x_embedder = LinearEmbedder(action_dim, dim)
        self.t_embedder = TimestepEmbedder(dim)
        self.z_embedder = ConditionEmbedder(num_condition_tokens, dim, condition_dropout)
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
        self.final_layer = FinalLayer(dim, action_dim)
        self._initialize()

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Return the predicted noise [B, T, A].

        Args:
            x: Noisy actions [B, T, A].
            t: Timesteps [B] of the full schedule, whatever subset a sampler visits.
            condition: Condition tokens [B, Q, D], or `unconditional(B)`.
        """
        condition_tokens = self.t_embedder(t)[:, None] + self.z_embedder(condition)
        tokens = torch.cat([condition_tokens, self.x_embedder(x)], dim=1) + self.positional_embedding
        for block in self.blocks:
            tokens = block(tokens)
        return self.final_layer(tokens[:, -self.horizon :])

    def unconditional(self, batch_size: int) -> Tensor:
        """Return the learned tokens [batch_size, Q, D] that stand for no condition."""
        return self.z_embedder.uncondition.expand(batch_size, -1, -1)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def begin_as_identity(self) -> None:
        """Draw all weights anew, such that the noisy actions themselves are what is predicted as their noise.

        That is nearly right for the noisiest timesteps, with which sampling begins, and where an error of the noise is
        many times as large an error of the chunk; a network of random weights learns only slowly to copy its input that
        well. Blocks begin by adding nothing, and positions are far larger than actions, so that the
        norm that the final layer divides by hardly depends on the actions.
        """
        self._initialize()
        nn.init.normal_(self.z_embedder.uncondition, std=self.z_embedder.uncondition.shape[-1] ** -0.5)
        for block in self.blocks:
            nn.init.zeros_(block.attn.proj.weight)
            nn.init.zeros_(block.mlp.fc2.weight)
        embedder = self.x_embedder.linear
        # What the final layer reads must depend neither on the mean, which its norm takes away, nor on the position.
        embedder.weight -= embedder.weight.mean(dim=0)
        inverse = torch.linalg.pinv(embedder.weight)
        nn.init.normal_(self.positional_embedding)
        places = self.positional_embedding[-self.horizon :]
        places -= places.mean(dim=1, keepdim=True)
        places -= places @ (embedder.weight @ inverse).T
        deviation = (places.square().mean() + embedder.weight.square().sum() / embedder.out_features).sqrt()
        self.final_layer.linear.weight.copy_(inverse * deviation)

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for index in (0, 2):
            nn.init.normal_(self.t_embedder.mlp[index].weight, std=0.02)
        # A fresh network predicts zero noise, so that training starts from a loss of one.
        nn.init.zeros_(self.final_layer.linear.weight)
