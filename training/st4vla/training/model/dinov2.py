"""Encode camera images into patch tokens with DINOv2.

An implementation of Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision" (2023), without
registers. Parameter names and the interpolation of the position embedding are those of the models on torch.hub, with
which the published InternVLA-M1 checkpoints were trained.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from st4vla.training.model.diffusion_transformer import FeedForward, SelfAttention

LAYER_NORM_EPS = 1e-6
# Added to the target grid before scaling, as on torch.hub: it moves the sampling points, so it may not be rounded away.
INTERPOLATE_OFFSET = 0.1
# Width, depth and heads of the published sizes.
DINOV2_SIZES = {
    "dinov2_vits14": (384, 12, 6),
    "dinov2_vitb14": (768, 12, 12),
    "dinov2_vitl14": (1024, 24, 16),
}


class PatchEmbedding(nn.Module):  # type: ignore[misc]
    """Embed images [B, 3, H, W] as one token per patch, [B, N, C], row by row."""

    def __init__(self, dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Return tokens [B, N, C]."""
        return self.proj(images).flatten(2).transpose(1, 2)


class LayerScale(nn.Module):  # type: ignore[misc]
    """Scale each channel by a learned factor."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, N, C] for tokens [B, N, C]."""
        return x * self.gamma


class Block(nn.Module):  # type: ignore[misc]
    """Add self-attention and an MLP, each after a layer norm and scaled by channel."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = SelfAttention(dim, num_heads)
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = FeedForward(dim, "none")
        self.ls2 = LayerScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, N, C] for tokens [B, N, C]."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class DinoEncoder(nn.Module):  # type: ignore[misc]
    """Encode images into normalised patch tokens.

    Args:
        dim: Width, C.
        depth: Number of blocks.
        num_heads: Attention heads.
        patch_size: Side of a patch in pixels.
        position_grid: Side of the learned grid of position embeddings in patches; 37 is 518 pixels.

    Raises:
        ValueError: The width does not divide into the heads.
    """

    def __init__(self, dim: int, depth: int, num_heads: int, patch_size: int = 14, position_grid: int = 37) -> None:
        super().__init__()
        self.dim = dim
        self.patch_size = patch_size
        self.position_grid = position_grid
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 1e-6)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + position_grid**2, dim) * 0.02)
        # Only self-supervised training masks patches: it is here to load the published parameters strictly.
        self.mask_token = nn.Parameter(torch.zeros(1, dim), requires_grad=False)
        self.patch_embed = PatchEmbedding(dim, patch_size)
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised patch tokens [B, N, C], row by row and without the class token.

        Args:
            images: [B, 3, H, W], RGB in [0, 1] less the ImageNet mean and over its standard deviation; H and W are
                multiples of the patch size.

        Raises:
            ValueError: H or W is not a multiple of the patch size.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"images of {height} by {width} pixels do not divide into patches of {self.patch_size}; "
                f"resize them to multiples of {self.patch_size}"
            )
        patches = self.patch_embed(images.to(self.patch_embed.proj.weight.dtype))
        tokens = torch.cat([self.cls_token.expand(images.shape[0], -1, -1), patches], dim=1)
        tokens = tokens + self.position_embedding(height // self.patch_size, width // self.patch_size).to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 1:]

    def position_embedding(self, rows: int, columns: int) -> Tensor:
        """Return the position embedding [1, 1 + rows * columns, C], interpolated where the learned grid differs.

        For images of one size it is a constant, which an exporter should bake in.
        """
        side = self.position_grid
        if rows == side and columns == side:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
        grid = functional.interpolate(
            grid,
            scale_factor=((rows + INTERPOLATE_OFFSET) / side, (columns + INTERPOLATE_OFFSET) / side),
            mode="bicubic",
            antialias=False,
        )
        return torch.cat([self.pos_embed[:, :1].float(), grid.flatten(2).transpose(1, 2)], dim=1)


def build_dino_encoder(size: str) -> DinoEncoder:
    """Return an untrained encoder of a published size.

    Raises:
        ValueError: The size is not in DINOV2_SIZES.
    """
    if size not in DINOV2_SIZES:
        raise ValueError(f"no DINOv2 size {size!r}; choose one of {', '.join(DINOV2_SIZES)}")
    dim, depth, num_heads = DINOV2_SIZES[size]
    return DinoEncoder(dim, depth, num_heads)
