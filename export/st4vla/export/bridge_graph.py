"""System 1's first graph: the newest views and a plan to condition tokens, as the sampler's steps take them.

Beside them it gives its visual tokens as cells of each view, by which the runtime sees that a scene has changed since
it was planned. They exist anyway and cost nothing.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from st4vla.export.linears import fold, linear_of, scaled
from st4vla.export.patches import FoldedPatches
from st4vla.export.planner_graph import key_value_projections
from st4vla.training.model.diffusion_transformer import FeedForward, SelfAttention
from st4vla.training.model.dinov2 import Block
from st4vla.training.policy import IMAGENET_MEAN, IMAGENET_STD, St4vlaPolicy

#: Most cells along a side of a view: as many as DINOv2 has patches of 224 pixels. A thing on a table is one of them.
CELLS_A_SIDE = 16
#: Most channels of a cell: how far it turns can be told from fewer than the largest encoders have.
CELL_CHANNELS = 32
PROJECTION_SEED = 20_261


class Cells(nn.Module):  # type: ignore[misc]
    """Average visual tokens [V, P, C] over square cells of each view: [1, V * cells, E].

    A side has as many cells as divide its tokens, up to `CELLS_A_SIDE`. The mean of a view is taken away from its
    cells: attention carries a little of whatever moves into all tokens alike. More than `CELL_CHANNELS` channels are
    projected to so many random directions, which keeps angles (Johnson and Lindenstrauss).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.projection: Tensor | None
        self.register_buffer("projection", None)
        if channels > CELL_CHANNELS:
            generator = torch.Generator().manual_seed(PROJECTION_SEED)
            self.projection = torch.randn(channels, CELL_CHANNELS, generator=generator) / CELL_CHANNELS**0.5

    def forward(self, visual: Tensor) -> Tensor:
        """Return the cells of visual tokens [V, P, C]."""
        rows = round(visual.shape[1] ** 0.5)
        count = max(each for each in range(1, CELLS_A_SIDE + 1) if rows % each == 0)
        squares = visual.unflatten(1, (count, rows // count, count, rows // count))
        cells = squares.mean(dim=(2, 4)).flatten(1, 2)
        cells = cells - cells.mean(dim=1, keepdim=True)
        if self.projection is not None:
            cells = cells @ self.projection
        return cells.flatten(0, 1)[None]


class EncoderBlock(nn.Module):  # type: ignore[misc]
    """A block of DINOv2 whose scales by channel are folded into the projections before them."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        attention, mlp = block.attn, block.mlp
        with torch.device("meta"):
            self.attn = SelfAttention(attention.proj.in_features, attention.num_heads)
            self.mlp = FeedForward(attention.proj.in_features, mlp.approximate)
        self.attn.qkv, self.attn.proj = attention.qkv, scaled(attention.proj, block.ls1.gamma)
        self.mlp.fc1, self.mlp.fc2 = mlp.fc1, scaled(mlp.fc2, block.ls2.gamma)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, N, C] for tokens [B, N, C]."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class BridgeGraph(nn.Module):  # type: ignore[misc]
    """Map views uint8 [V, H, W, 3], plan_keys and plan_values [N, L, D] to condition [1, Q, D] and cells [1, C, E].

    The condition is embedded already, as every step of the sampler would do to it.
    """

    def __init__(self, policy: St4vlaPolicy) -> None:
        super().__init__()
        qformer, self.encoder = policy.layer_qformer, policy.dino_encoder.body
        self.blocks = nn.ModuleList(map(EncoderBlock, self.encoder.blocks))
        inner = fold(qformer.proj.weight, qformer.proj.bias, policy.dino_pro)
        self.keys, self.values = key_value_projections(policy, inner)
        self.layers = qformer.layers
        embedding = self.encoder.patch_embed.proj
        self.patches = FoldedPatches(embedding.weight, embedding.bias, IMAGENET_MEAN, IMAGENET_STD)
        self.embed = policy.action_model.net.z_embedder.linear
        queries = qformer.query_tokens.detach()[None].clone()
        self.register_buffer("query_tokens", queries)
        self.cells = Cells(policy.config.encoder.dim)
        width = queries.shape[-1]
        self.queries = nn.ModuleList(
            linear_of(layer.cross_attn.in_proj_weight[:width], layer.cross_attn.in_proj_bias[:width])
            for layer in qformer.layers
        )
        # The first layer asks the same of every frame.
        with torch.no_grad():
            self.register_buffer("first_query", self.queries[0](self.layers[0].norm1(queries)).clone())
        rows = policy.config.image_size // self.encoder.patch_size
        # Views have one size: the interpolated embedding is a constant.
        self.register_buffer("positions", self.encoder.position_embedding(rows, rows).detach().clone())

    def forward(self, views: Tensor, plan_keys: Tensor, plan_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return embedded condition tokens [1, Q, D], and cells of visual tokens [1, C, E]."""
        tokens = self._encode(views)
        visual = tokens.flatten(0, 1)[None]
        queries = self.query_tokens
        for index, layer in enumerate(self.layers):
            keys = torch.cat([plan_keys[index][None], self.keys[index](visual)], dim=1)
            values = torch.cat([plan_values[index][None], self.values[index](visual)], dim=1)
            attention = layer.cross_attn
            query = self.queries[index](layer.norm1(queries)) if index else self.first_query
            heads = (part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in (query, keys, values))
            attended = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
            queries = queries + attention.out_proj(attended)
            queries = queries + layer.mlp(layer.norm2(queries))
        return self.embed(queries), self.cells(tokens)

    def _encode(self, views: Tensor) -> Tensor:
        encoder = self.encoder
        tokens = self.patches(views)
        tokens = torch.cat([encoder.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return encoder.norm(tokens)[:, 1:]
