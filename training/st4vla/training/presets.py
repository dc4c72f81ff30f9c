"""The policies that training can begin with, by name."""

import msgspec

from st4vla.contracts.action import ActionSpec, ActionStatistics, NormalizationMode
from st4vla.contracts.errors import UsageError
from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import ActionRepresentation
from st4vla.contracts.model_config import (
    BridgeConfig,
    EncoderConfig,
    HeadConfig,
    ModelConfig,
    PlannerConfig,
    SamplerConfig,
    VisionConfig,
)
from st4vla.contracts.prompts import PromptSpec

EMBODIMENT = "franka"
_TRANSLATION_M = 0.01
_ROTATION_RAD = 0.03


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy before its first weight: what a checkpoint's manifest says, less seed and files."""

    model: ModelConfig
    sampler: SamplerConfig
    views: tuple[ViewSpec, ...]
    action: ActionSpec
    statistics: dict[str, ActionStatistics]
    prompt: PromptSpec


def _preset(model: ModelConfig, max_tokens: int) -> Preset:
    low = (-_TRANSLATION_M,) * 3 + (-_ROTATION_RAD,) * 3 + (0.0,)
    high = (_TRANSLATION_M,) * 3 + (_ROTATION_RAD,) * 3 + (1.0,)
    # The deviation of a uniform distribution over the range; the gripper is closed half of the time.
    std = (*((top - bottom) / 12**0.5 for top, bottom in zip(high[:6], low[:6], strict=True)), 0.5)
    statistics = ActionStatistics(q01=low, q99=high, min=low, max=high, mean=(0.0,) * 6 + (0.5,), std=std)
    views = tuple(ViewSpec(name, model.image_size, model.image_size) for name in ("agentview", "wrist"))
    return Preset(
        model=model,
        sampler=SamplerConfig(num_steps=10, guidance_scale=1.5),
        views=views,
        action=ActionSpec(
            names=("dx_m", "dy_m", "dz_m", "rx_rad", "ry_rad", "rz_rad", "gripper"),
            modes=(NormalizationMode.QUANTILE,) * 6 + (NormalizationMode.BINARY,),
            gripper_index=6,
            representation=ActionRepresentation.EE_DELTA,
            horizon=16,
            period_ns=50_000_000,
        ),
        statistics={EMBODIMENT: statistics},
        prompt=PromptSpec("generic", len(views), model.tokens_per_view, max_tokens),
    )


_TINY = ModelConfig(
    planner=PlannerConfig(
        dim=64,
        depth=2,
        num_heads=4,
        num_kv_heads=2,
        mlp_dim=128,
        vocabulary=512,
        mrope_section=(2, 3, 3),
        vision=VisionConfig(dim=64, depth=2, num_heads=4, mlp_dim=128, full_attention_blocks=(1,)),
    ),
    encoder=EncoderConfig(dim=64, depth=2, num_heads=4, pretrained_grid=16),
    bridge=BridgeConfig(dim=64, num_queries=16, start_layer=1, end_layer=3, num_heads=4),
    head=HeadConfig(depth=2, num_heads=4),
)
# For trainings on two cores. Its rotary base fits prompts of hundreds of tokens, not of tens of thousands. As in every
# Qwen2.5-VL, columns have the slowest angles; in heads of few channels those turn visibly from one column to the next
# only if most channels are theirs.
_TABLETOP = ModelConfig(
    planner=PlannerConfig(
        dim=128,
        depth=3,
        num_heads=4,
        num_kv_heads=4,
        mlp_dim=256,
        vocabulary=512,
        mrope_section=(2, 2, 12),
        rope_theta=1e3,
        vision=VisionConfig(dim=64, depth=2, num_heads=4, mlp_dim=128, full_attention_blocks=(1,)),
    ),
    encoder=EncoderConfig(dim=64, depth=2, num_heads=4, pretrained_grid=16),
    bridge=BridgeConfig(dim=128, num_queries=16, start_layer=2, end_layer=4, num_heads=4),
    head=HeadConfig(depth=2, num_heads=4),
)
# What a CPU can serve and benchmarks can compare on it: DINOv2 ViT-S/14, a DiT-S, and a planner of a few layers.
_SMALL = ModelConfig(
    planner=PlannerConfig(
        dim=512,
        depth=4,
        num_heads=8,
        num_kv_heads=2,
        mlp_dim=2752,
        vocabulary=512,
        mrope_section=(4, 4, 24),
        rope_theta=1e3,
        vision=VisionConfig(dim=384, depth=4, num_heads=6, mlp_dim=1024, full_attention_blocks=(3,)),
    ),
    encoder=EncoderConfig(dim=384, depth=12, num_heads=6),
    bridge=BridgeConfig(dim=384, num_queries=64, start_layer=4, end_layer=5),
    head=HeadConfig(depth=12, num_heads=6),
)
# Qwen2.5-VL-3B, DINOv2 ViT-L/14 and a DiT-B, as in the published LIBERO checkpoints of InternVLA-M1.
_BASE = ModelConfig(
    planner=PlannerConfig(
        dim=2048,
        depth=36,
        num_heads=16,
        num_kv_heads=2,
        mlp_dim=11_008,
        vocabulary=151_936,
        mrope_section=(16, 24, 24),
        vision=VisionConfig(dim=1280, depth=32, num_heads=16, mlp_dim=3420, full_attention_blocks=(7, 15, 23, 31)),
    ),
    encoder=EncoderConfig(dim=1024, depth=24, num_heads=16),
    bridge=BridgeConfig(dim=768, num_queries=64, start_layer=36, end_layer=37),
    head=HeadConfig(depth=12, num_heads=12),
)

PRESETS: dict[str, Preset] = {
    "tiny": _preset(_TINY, max_tokens=512),
    "tabletop": _preset(_TABLETOP, max_tokens=512),
    "small": _preset(_SMALL, max_tokens=512),
    "base": _preset(_BASE, max_tokens=512),
}


def get_preset(name: str) -> Preset:
    """Return a preset.

    Raises:
        UsageError: An unknown name; the message lists the known ones.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; known are {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
