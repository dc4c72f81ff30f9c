"""The sizes of a policy's four networks; names follow the papers and the published checkpoints."""

from __future__ import annotations

import msgspec


class VisionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Qwen2.5-VL's vision tower."""

    dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    full_attention_blocks: tuple[int, ...]
    patch_size: int = 14
    merge_size: int = 2
    window_size: int = 112


class PlannerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """System 2: Qwen2.5-VL.

    Attributes:
        dim: Width of the language model's hidden states.
        depth: Its layers.
        num_heads: Query heads.
        num_kv_heads: Key and value heads.
        mlp_dim: Width of the feed-forward part.
        vocabulary: Tokens.
        mrope_section: Half-dimensions of the rotary embedding for time, height and width.
        vision: The vision tower.
        rope_theta: Base of the rotary frequencies.
    """

    dim: int
    depth: int
    num_heads: int
    num_kv_heads: int
    mlp_dim: int
    vocabulary: int
    mrope_section: tuple[int, int, int]
    vision: VisionConfig
    rope_theta: float = 1e6


class EncoderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """System 1's eyes: DINOv2. `pretrained_grid` is the side of its position embedding's grid, 37 as published."""

    dim: int
    depth: int
    num_heads: int
    patch_size: int = 14
    pretrained_grid: int = 37


class BridgeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The querying transformer; it reads the planner's hidden states `start_layer` up to but without `end_layer`.

    Hidden state 0 is the embedding, i the output of layer i, and the last one comes after the final norm.
    """

    dim: int
    num_queries: int
    start_layer: int
    end_layer: int
    num_heads: int = 8
    gradient_decay: float = 0.5

    @property
    def num_layers(self) -> int:
        """N, hidden states that are read and blocks that read them."""
        return self.end_layer - self.start_layer


class HeadConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The diffusion transformer; its width is the bridge's."""

    depth: int
    num_heads: int


class SamplerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """DDIM with classifier-free guidance.

    Attributes:
        num_steps: Denoising steps.
        guidance_scale: Above 1, how far the condition is exaggerated.
        clean_prefix: Whether the network was trained to see the actions that the arm is committed to without noise.
    """

    num_steps: int = 10
    guidance_scale: float = 1.5
    clean_prefix: bool = False


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All four networks, and the square of pixels that both eyes see."""

    planner: PlannerConfig
    encoder: EncoderConfig
    bridge: BridgeConfig
    head: HeadConfig
    image_size: int = 224

    @property
    def tokens_per_view(self) -> int:
        """Image tokens that the language model gets of one view."""
        vision = self.planner.vision
        return (self.image_size // (vision.patch_size * vision.merge_size)) ** 2
