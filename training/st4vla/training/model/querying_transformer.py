"""Read the planner's hidden states into a fixed number of condition tokens.

A set of learned queries attends to one hidden state of the planner per layer. Only the queries are normalised, there is
no self-attention between them and no final normalisation, as in the published InternVLA-M1 checkpoints.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPS = 1e-5
MLP_RATIO = 4


class _ScaledGradient(torch.autograd.Function):  # type: ignore[misc]
    """The identity, whose gradient is multiplied by a factor; unlike a weighted sum it changes no bit of the value."""

    @staticmethod
    def forward(context: Any, x: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * context.factor, None


class CrossAttention(nn.Module):  # type: ignore[misc]
    """Attend from queries to keys with a packed input projection, named as `torch.nn.MultiheadAttention` names it."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"width {dim} does not divide into {num_heads} heads; choose a divisor of the width")
        self.num_heads = num_heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, queries: Tensor, keys: Tensor, key_mask: Tensor | None) -> Tensor:
        """Return the attended values [B, Q, D] for queries [B, Q, D] and keys [B, L, D].

        Args:
            queries: [B, Q, D].
            keys: [B, L, D], keys and values alike.
            key_mask: bool [B, L], True where a key may be attended to; at least one in each row. None attends to all.
        """
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3)
        query, key, value = (
            functional.linear(source, weight, bias).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for source, weight, bias in zip((queries, keys, keys), weights, biases, strict=True)
        )
        attended = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if key_mask is None else key_mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class CrossAttentionBlock(nn.Module):  # type: ignore[misc]
    """Add cross-attention and an MLP to the queries, each after a layer norm."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.cross_attn = CrossAttention(dim, num_heads, dropout)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = nn.Sequential(
            nn.Linear(dim, MLP_RATIO * dim), nn.GELU(), nn.Linear(MLP_RATIO * dim, dim), nn.Dropout(dropout)
        )

    def forward(self, queries: Tensor, keys: Tensor, key_mask: Tensor | None) -> Tensor:
        """Return the updated queries [B, Q, D]; the keys [B, L, D] are used as they come."""
        queries = queries + self.cross_attn(self.norm1(queries), keys, key_mask)
        return queries + self.mlp(self.norm2(queries))


class QueryingTransformer(nn.Module):  # type: ignore[misc]
    """Turn one hidden state per layer into `num_queries` condition tokens.

    Args:
        input_dim: Width of the planner's hidden states.
        output_dim: Width of the queries and of the result.
        num_queries: Number of learned queries.
        num_layers: Number of cross-attention blocks, each of which reads its own hidden state.
        num_heads: Attention heads.
        gradient_decay: Factor for the gradient that flows back into the planner's hidden states, in [0, 1], and into
            nothing else: neither the vision tokens nor any parameter of this module see it.
        dropout: Probability of dropping attention weights and MLP outputs in training.

    Raises:
        ValueError: The width does not divide into the heads.
    """

    def __init__(  # noqa: PLR0917 - sizes, in the order of the data
        self,
        input_dim: int,
        output_dim: int,
        num_queries: int,
        num_layers: int,
        num_heads: int = 8,
        gradient_decay: float = 0.5,
        *,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.gradient_decay = gradient_decay
        self.query_tokens = nn.Parameter(torch.randn(num_queries, output_dim))
        self.proj = nn.Linear(input_dim, output_dim)
        self.layers = nn.ModuleList(CrossAttentionBlock(output_dim, num_heads, dropout) for _ in range(num_layers))

    def forward(
        self,
        hidden_states: Sequence[Tensor],
        key_mask: Tensor | None = None,
        visual_tokens: Tensor | None = None,
    ) -> Tensor:
        """Return the condition tokens [B, num_queries, output_dim].

        Args:
            hidden_states: The planner's, one tensor [B, L, input_dim] per layer.
            key_mask: bool [B, L], True where a hidden state may be attended to, False on padding. Each row needs one
                True, unless there are visual tokens.
            visual_tokens: [B, M, input_dim], which every layer reads after its hidden state; all of them.

        Raises:
            ValueError: The number of hidden states is not the number of layers.
        """
        if len(hidden_states) != len(self.layers):
            raise ValueError(
                f"got {len(hidden_states)} hidden states for {len(self.layers)} layers; pass exactly one per layer"
            )
        queries = self.query_tokens.expand(hidden_states[0].shape[0], -1, -1)
        if visual_tokens is not None and key_mask is not None:
            key_mask = torch.cat([key_mask, key_mask.new_ones(visual_tokens.shape[:2])], dim=1)
        for layer, hidden_state in zip(self.layers, hidden_states, strict=True):
            keys = _ScaledGradient.apply(hidden_state, self.gradient_decay)
            if visual_tokens is not None:
                keys = torch.cat([keys, visual_tokens], dim=1)
            queries = layer(queries, self.proj(keys), key_mask)
        return queries
