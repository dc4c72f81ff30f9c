"""Infer a policy's sizes from the shapes of its weights.

Published configurations name clusters' folders, lack fields and repeat stale ones, so sizes are never read from them.
Shapes do not tell how a width divides into heads; that is known for the published widths.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from st4vla.contracts.errors import ManifestError
from st4vla.contracts.model_config import (
    BridgeConfig,
    EncoderConfig,
    HeadConfig,
    ModelConfig,
    PlannerConfig,
    VisionConfig,
)
from st4vla.training.model.dinov2 import DINOV2_SIZES

# Hard-coded in the reference; no configuration names it.
BRIDGE_HEADS = 8
LANGUAGE_HEAD_DIM = 128
VISION_HEAD_DIM = 80
MROPE_SECTION = (16, 24, 24)
VISION_DEPTH = 32
FULL_ATTENTION_BLOCKS = (7, 15, 23, 31)
# Depth and heads by width: DiT-S, DiT-B, DiT-L; and DINOv2 ViT-S, ViT-B, ViT-L.
DIT_SIZES = {384: (6, 4), 768: (12, 12), 1024: (24, 16)}
ENCODER_SIZES = {dim: (depth, heads) for dim, depth, heads in DINOV2_SIZES.values()}

_LANGUAGE = "qwen_vl_interface.model.model.language_model."
_VISUAL = "qwen_vl_interface.model.model.visual."
_ENCODER = "dino_encoder.body."
_BRIDGE = "layer_qformer."
_HEAD = "action_model.net."
# Number of dimensions of each tensor that sizes are read from.
_SOURCES = {
    f"{_LANGUAGE}embed_tokens.weight": 2,
    f"{_LANGUAGE}layers.0.self_attn.q_proj.weight": 2,
    f"{_LANGUAGE}layers.0.self_attn.k_proj.weight": 2,
    f"{_LANGUAGE}layers.0.mlp.gate_proj.weight": 2,
    f"{_VISUAL}patch_embed.proj.weight": 5,
    f"{_VISUAL}blocks.0.mlp.gate_proj.weight": 2,
    f"{_VISUAL}merger.mlp.0.weight": 2,
    f"{_ENCODER}patch_embed.proj.weight": 4,
    f"{_ENCODER}pos_embed": 3,
    f"{_BRIDGE}query_tokens": 2,
    f"{_BRIDGE}layers.0.norm1.weight": 1,
    f"{_HEAD}positional_embedding": 2,
    f"{_HEAD}final_layer.linear.weight": 2,
    f"{_HEAD}blocks.0.attn.qkv.weight": 2,
}


class HeadCounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Attention heads of widths that are not published.

    Attributes:
        planner: Query heads of the language model.
        mrope_section: Half-dimensions of its rotary embedding for time, height and width.
        vision: Heads of its vision tower.
        encoder: Heads of DINOv2.
        head: Heads of the diffusion transformer.
        bridge: Heads of the querying transformer.
    """

    planner: int
    mrope_section: tuple[int, int, int]
    vision: int
    encoder: int
    head: int
    bridge: int = BRIDGE_HEADS


class Sizes(NamedTuple):
    """What shapes say: the networks, A and T."""

    model: ModelConfig
    action_dim: int
    horizon: int


def infer_sizes(
    shapes: Mapping[str, tuple[int, ...]],
    start_layer: int,
    end_layer: int,
    *,
    heads: HeadCounts | None = None,
    gradient_decay: float = 0.5,
    image_size: int = 224,
) -> Sizes:
    """Return the sizes of a policy.

    Args:
        shapes: By our parameter names.
        start_layer: First hidden state that the bridge reads.
        end_layer: The one after the last.
        heads: Heads, where they are not those of the published widths.
        gradient_decay: As in `BridgeConfig`.
        image_size: Side of a view in pixels.

    Raises:
        ManifestError: Tensors that sizes are read from are missing; a width or depth that is not published, without
            `heads`; or layers that do not fit the bridge or the planner.
    """
    found = _sources(shapes)
    vocabulary, dim = found[f"{_LANGUAGE}embed_tokens.weight"]
    vision_dim, _, _, vision_patch, _ = found[f"{_VISUAL}patch_embed.proj.weight"]
    encoder_dim, _, encoder_patch, _ = found[f"{_ENCODER}patch_embed.proj.weight"]
    num_queries, bridge_dim = found[f"{_BRIDGE}query_tokens"]
    depths = {
        prefix: _depth(shapes, prefix, part)
        for prefix, part in (
            (_LANGUAGE, "layers"),
            (_VISUAL, "blocks"),
            (_ENCODER, "blocks"),
            (_BRIDGE, "layers"),
            (_HEAD, "blocks"),
        )
    }
    query_rows = found[f"{_LANGUAGE}layers.0.self_attn.q_proj.weight"][0]
    counts = heads or HeadCounts(
        planner=_heads_by_head_dim("language model", query_rows, LANGUAGE_HEAD_DIM),
        mrope_section=MROPE_SECTION,
        vision=_heads_by_head_dim("vision tower", vision_dim, VISION_HEAD_DIM),
        encoder=_heads_by_width("DINOv2", encoder_dim, depths[_ENCODER], ENCODER_SIZES),
        head=_heads_by_width("diffusion transformer", bridge_dim, depths[_HEAD], DIT_SIZES),
    )
    if heads is None and depths[_VISUAL] != VISION_DEPTH:
        raise ManifestError(f"the vision tower has {depths[_VISUAL]} blocks; published ones have {VISION_DEPTH}")
    _check_layers(start_layer, end_layer, depths[_BRIDGE], depths[_LANGUAGE])
    key_rows = found[f"{_LANGUAGE}layers.0.self_attn.k_proj.weight"][0]
    model = ModelConfig(
        planner=PlannerConfig(
            dim=dim,
            depth=depths[_LANGUAGE],
            num_heads=counts.planner,
            num_kv_heads=max(1, key_rows * counts.planner // query_rows),
            mlp_dim=found[f"{_LANGUAGE}layers.0.mlp.gate_proj.weight"][0],
            vocabulary=vocabulary,
            mrope_section=counts.mrope_section,
            vision=VisionConfig(
                dim=vision_dim,
                depth=depths[_VISUAL],
                num_heads=counts.vision,
                mlp_dim=found[f"{_VISUAL}blocks.0.mlp.gate_proj.weight"][0],
                full_attention_blocks=tuple(block for block in FULL_ATTENTION_BLOCKS if block < depths[_VISUAL]),
                patch_size=vision_patch,
                merge_size=math.isqrt(found[f"{_VISUAL}merger.mlp.0.weight"][1] // vision_dim),
            ),
        ),
        encoder=EncoderConfig(
            dim=encoder_dim,
            depth=depths[_ENCODER],
            num_heads=counts.encoder,
            patch_size=encoder_patch,
            pretrained_grid=math.isqrt(found[f"{_ENCODER}pos_embed"][1] - 1),
        ),
        bridge=BridgeConfig(
            dim=bridge_dim,
            num_queries=num_queries,
            start_layer=start_layer,
            end_layer=end_layer,
            num_heads=counts.bridge,
            gradient_decay=gradient_decay,
        ),
        head=HeadConfig(depth=depths[_HEAD], num_heads=counts.head),
        image_size=image_size,
    )
    horizon = found[f"{_HEAD}positional_embedding"][0] - num_queries
    if horizon < 1:
        raise ManifestError(
            f"{_HEAD}positional_embedding has {horizon + num_queries} rows for {num_queries} queries; "
            "there must be one more for each action of a chunk"
        )
    return Sizes(model, found[f"{_HEAD}final_layer.linear.weight"][0], horizon)


def _sources(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    absent = [name for name in _SOURCES if name not in shapes]
    if absent:
        hint = (
            "a checkpoint of stage 1 holds the language model alone; name one of a whole policy"
            if not any(name.startswith((_BRIDGE, _HEAD)) for name in shapes)
            else "the checkpoint is incomplete"
        )
        raise ManifestError(f"no sizes without {', '.join(absent)}; {hint}")
    wrong = [
        f"{name} {list(shapes[name])}"
        for name, count in _SOURCES.items()
        if len(shapes[name]) != count or not all(shapes[name])
    ]
    if wrong:
        raise ManifestError(f"these have another number of dimensions than published, or none: {', '.join(wrong)}")
    return {name: tuple(shapes[name]) for name in _SOURCES}


def _depth(names: Iterable[str], prefix: str, part: str) -> int:
    """Return the highest number of a block, plus one; a gap below it shows later as missing tensors."""
    pattern = re.compile(rf"{re.escape(prefix)}{part}\.(\d+)\.")
    return 1 + max(int(match[1]) for match in map(pattern.match, names) if match)


def _heads_by_head_dim(what: str, width: int, head_dim: int) -> int:
    if width % head_dim:
        raise ManifestError(
            f"the {what} is {width} wide, which is no multiple of {head_dim}, the width of a head of every published "
            "size; pass `heads` for other sizes"
        )
    return width // head_dim


def _heads_by_width(what: str, width: int, depth: int, known: Mapping[int, tuple[int, int]]) -> int:
    if width not in known:
        widths = ", ".join(map(str, known))
        raise ManifestError(f"the {what} is {width} wide; published are {widths}; pass `heads` for other sizes")
    published_depth, count = known[width]
    if depth != published_depth:
        raise ManifestError(
            f"the {what} of width {width} has {depth} blocks; the published one has {published_depth}, "
            "so the checkpoint is incomplete; pass `heads` if it is meant so"
        )
    return count


def _check_layers(start_layer: int, end_layer: int, bridge_layers: int, depth: int) -> None:
    if end_layer - start_layer != bridge_layers:
        raise ManifestError(
            f"hidden states {start_layer} up to but without {end_layer} are {end_layer - start_layer}, but the bridge "
            f"has {bridge_layers} layers; correct qformer_start_layer and qformer_end_layer"
        )
    if not 0 <= start_layer < end_layer <= depth + 1:
        raise ManifestError(
            f"hidden states {start_layer} up to but without {end_layer} are not all there; "
            f"a language model of {depth} layers has 0 to {depth}"
        )
