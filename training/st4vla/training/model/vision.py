"""Run Qwen2.5-VL's vision tower on views of one size, as training and export do.

The layers are Hugging Face's; what differs is how they are called. There, the sizes of pictures are data: windows are
found, gathered and attended to one by one. Here the size is known: windows are a reshape, rotary angles and the order
of patches are constants, and the two frames of a temporal patch, alike in a still picture, are one multiplication with
the sum of their weights. The results are the same, and exporters can follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from st4vla.contracts.model_config import VisionConfig

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
ROPE_THETA = 10_000.0


@dataclass(frozen=True)
class ViewGrid:
    """What is constant for views of one size.

    Attributes:
        patch_order: int64 [P], the patches of one window after those of another; patches that become one token follow
            each other.
        token_order: int64 [tokens], back from windows to rows.
        cos: [P, head width] of the rotary angles, in window order.
        sin: Likewise.
    """

    patch_order: Tensor
    token_order: Tensor
    cos: Tensor
    sin: Tensor


def divides_into_windows(config: VisionConfig, height: int, width: int) -> bool:
    """Say whether views of a size can be encoded here."""
    return height % config.window_size == 0 and width % config.window_size == 0


@lru_cache(maxsize=32)
def view_grid(config: VisionConfig, height: int, width: int, device: torch.device) -> ViewGrid:
    """Return what is constant for views of a size.

    Raises:
        ValueError: They do not divide into whole windows.
    """
    if not divides_into_windows(config, height, width):
        raise ValueError(f"views of {height} by {width} pixels do not divide into windows of {config.window_size}")
    merge, patch = config.merge_size, config.patch_size
    rows, columns = height // patch // merge, width // patch // merge
    side = config.window_size // patch // merge
    windows = torch.arange(rows * columns).reshape(rows // side, side, columns // side, side)
    order = windows.permute(0, 2, 1, 3).flatten()
    patch_order = (order[:, None] * merge**2 + torch.arange(merge**2)).flatten()
    # Patches come token by token, and within a token row by row.
    places = torch.cartesian_prod(*(torch.arange(size) for size in (rows, columns, merge, merge)))
    place = torch.stack([places[:, 0] * merge + places[:, 2], places[:, 1] * merge + places[:, 3]], dim=1)
    half = config.dim // config.num_heads // 2
    frequencies = 1.0 / ROPE_THETA ** (torch.arange(0, half, 2, dtype=torch.float32) / half)
    angles = (place[patch_order].float()[..., None] * frequencies).flatten(1)
    angles = torch.cat([angles, angles], dim=-1)
    return ViewGrid(*(value.to(device) for value in (patch_order, order.argsort(), angles.cos(), angles.sin())))


def still_patches(views: Tensor, config: VisionConfig) -> Tensor:
    """Return the patches of still views, uint8 [V, P, 3 * patch * patch], those of one token after those of another.

    Args:
        views: RGB uint8 [V, H, W, 3].
        config: Patch and merge size.
    """
    count, height, width, _ = views.shape
    merge, patch = config.merge_size, config.patch_size
    unit = merge * patch
    cells = views.reshape(count, height // unit, merge, patch, width // unit, merge, patch, 3)
    return cells.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(count, -1, 3 * patch * patch)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return x [..., L, C] turned by the rotary embedding cos and sin [L, C], halves paired as in Hugging Face."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def encode_views(visual: Any, config: VisionConfig, grid: ViewGrid, views: Tensor) -> Tensor:
    """Return the tokens of views, [V, tokens_per_view, dim of the language model].

    Args:
        visual: Hugging Face's vision tower.
        config: Its sizes.
        grid: Of the views' size.
        views: RGB uint8 [V, H, W, 3].
    """
    patches = still_patches(views, config)[:, grid.patch_order].float()
    mean, std = (patches.new_tensor(each).repeat_interleave(config.patch_size**2) for each in (IMAGE_MEAN, IMAGE_STD))
    weight = visual.patch_embed.proj.weight
    pixels = ((patches * (1 / 255) - mean) / std).to(weight.dtype)
    return encode_patches(visual, config, grid, functional.linear(pixels, weight.sum(dim=2).flatten(1)))


def encode_patches(visual: Any, config: VisionConfig, grid: ViewGrid, x: Tensor) -> Tensor:
    """Return the tokens of embedded patches, [V, tokens_per_view, dim of the language model].

    Args:
        visual: As in `encode_views`, as are the next two; its `blocks` and its `merger` are called.
        config: Its sizes.
        grid: Of the views' size.
        x: Patches [V, P, C] in the grid's order.
    """
    for index, block in enumerate(visual.blocks):
        whole = index in config.full_attention_blocks
        window = x.shape[1] if whole else (config.window_size // config.patch_size) ** 2
        x = x + _attend(block.attn, block.norm1(x), grid, config.num_heads, window)
        x = x + block.mlp(block.norm2(x))
    tokens = visual.merger(x.flatten(0, 1))
    return tokens.unflatten(0, (x.shape[0], -1)).index_select(1, grid.token_order)


def _attend(attention: Any, x: Tensor, grid: ViewGrid, num_heads: int, window: int) -> Tensor:
    """Return the attended x [V, P, C]; each patch sees those of its window."""
    query, key, value = attention.qkv(x).unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    # Angles are float32, and so is the turning, as in Hugging Face.
    query, key = (rotate(part.float(), grid.cos, grid.sin).to(value.dtype) for part in (query, key))
    # [V, heads, P, C] to [V * windows, heads, window, C].
    parts = (part.unflatten(2, (-1, window)).transpose(1, 2).flatten(0, 1) for part in (query, key, value))
    attended = functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
    return attention.proj(attended.reshape(x.shape))
