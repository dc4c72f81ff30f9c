"""Build System 2, Qwen2.5-VL, and read its hidden states.

The network is Hugging Face's `Qwen2_5_VLForConditionalGeneration`; the preparation of images is that of its image
processor (Bai et al., "Qwen2.5-VL Technical Report", 2025) without a dependency on torchvision.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from st4vla.contracts.model_config import PlannerConfig, VisionConfig
from st4vla.training.model.vision import IMAGE_MEAN, IMAGE_STD, divides_into_windows, encode_views, view_grid

TEMPORAL_PATCH_SIZE = 2
RMS_NORM_EPS = 1e-6
MAX_POSITIONS = 32_768
# In the order of their ids, which are the 14 after the byte-level tokens.
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
QWEN_VOCABULARY = 151_936
QWEN_FIRST_SPECIAL_TOKEN = 151_643


def special_token_id(token: str, vocabulary: int) -> int:
    """Return the id of a special token: Qwen's own in its vocabulary, else among the last 14 ids.

    Raises:
        ValueError: Not one of `SPECIAL_TOKENS`.
    """
    if token not in SPECIAL_TOKENS:
        raise ValueError(f"no special token {token!r}; choose one of {', '.join(SPECIAL_TOKENS)}")
    first = QWEN_FIRST_SPECIAL_TOKEN if vocabulary == QWEN_VOCABULARY else vocabulary - len(SPECIAL_TOKENS)
    return first + SPECIAL_TOKENS.index(token)


def build_planner(config: PlannerConfig, attention: str = "sdpa") -> Qwen2_5_VLForConditionalGeneration:
    """Return an untrained planner in float32, drawn from the global random generator.

    Weights have the deviation that keeps signals of that width at their size: Qwen's own 0.02, which is the same at a
    width of 2048, would let a tiny planner's vanish.

    Args:
        config: Its sizes.
        attention: "eager" or "sdpa".

    Raises:
        ValueError: Heads and rotary sections that do not fit the width.
    """
    head_dim = config.dim // config.num_heads
    if config.dim % config.num_heads or sum(config.mrope_section) * 2 != head_dim:
        raise ValueError(
            f"mrope_section {config.mrope_section} must add up to half of the head width, "
            f"and {config.num_heads} heads must divide the width {config.dim}"
        )
    vision = config.vision
    ids = {name: special_token_id(f"<|{name}|>", config.vocabulary) for name in ("im_end", "endoftext")}
    text_config = {
        "hidden_size": config.dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "intermediate_size": config.mlp_dim,
        "vocab_size": config.vocabulary,
        "rope_theta": config.rope_theta,
        "rope_scaling": {"type": "mrope", "mrope_section": list(config.mrope_section)},
        "rms_norm_eps": RMS_NORM_EPS,
        "max_position_embeddings": MAX_POSITIONS,
        "initializer_range": config.dim**-0.5,
        "tie_word_embeddings": True,
        "use_cache": False,
        "bos_token_id": ids["endoftext"],
        "eos_token_id": ids["im_end"],
        "pad_token_id": None,
    }
    vision_config = {
        "hidden_size": vision.dim,
        "depth": vision.depth,
        "num_heads": vision.num_heads,
        "intermediate_size": vision.mlp_dim,
        "out_hidden_size": config.dim,
        "patch_size": vision.patch_size,
        "spatial_merge_size": vision.merge_size,
        "temporal_patch_size": TEMPORAL_PATCH_SIZE,
        "window_size": vision.window_size,
        "fullatt_block_indexes": list(vision.full_attention_blocks),
        "initializer_range": vision.dim**-0.5,
    }
    hugging_face = Qwen2_5_VLConfig(
        text_config=text_config,
        vision_config=vision_config,
        tie_word_embeddings=True,
        image_token_id=special_token_id("<|image_pad|>", config.vocabulary),
        video_token_id=special_token_id("<|video_pad|>", config.vocabulary),
        vision_start_token_id=special_token_id("<|vision_start|>", config.vocabulary),
        vision_end_token_id=special_token_id("<|vision_end|>", config.vocabulary),
        attn_implementation=attention,
    )
    return Qwen2_5_VLForConditionalGeneration(hugging_face)


def normalize_views(views: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return float32 [V, 3, H, W] for RGB uint8 views [V, H, W, 3]: over 255, less the mean, over the deviation."""
    scaled = views.permute(0, 3, 1, 2).float() * (1 / 255)
    return (scaled - scaled.new_tensor(mean)[:, None, None]) / scaled.new_tensor(std)[:, None, None]


def patchify(views: Tensor, config: VisionConfig) -> Tensor:
    """Return the flattened patches of each view, [V * rows * columns, 3 * 2 * patch * patch], float32.

    Patches that are merged into one token follow each other; a still image fills both frames of the temporal patch.

    Args:
        views: RGB uint8 [V, H, W, 3]; H and W are multiples of patch_size * merge_size.
        config: Patch and merge size.

    Raises:
        ValueError: H or W is not such a multiple.
    """
    count, height, width, _ = views.shape
    patch, merge = config.patch_size, config.merge_size
    unit = patch * merge
    if height % unit or width % unit:
        raise ValueError(f"views of {height} by {width} pixels; resize them to multiples of {unit}")
    pixels = normalize_views(views, IMAGE_MEAN, IMAGE_STD)
    cells = pixels.reshape(count, 3, height // unit, merge, patch, width // unit, merge, patch)
    cells = cells.permute(0, 2, 5, 3, 6, 1, 4, 7)[:, :, :, :, :, :, None]
    return cells.expand(-1, -1, -1, -1, -1, -1, TEMPORAL_PATCH_SIZE, -1, -1).reshape(
        -1, 3 * TEMPORAL_PATCH_SIZE * patch * patch
    )


def hidden_states(
    planner: Qwen2_5_VLForConditionalGeneration,
    config: PlannerConfig,
    views: Tensor | Sequence[Tensor],
    token_ids: Tensor,
    token_mask: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Return all depth + 1 hidden states, each [B, L, dim].

    Number 0 is the embedding, i the output of layer i, and the last one comes after the final norm.

    Args:
        planner: From `build_planner`.
        config: Its sizes.
        views: RGB uint8, [B * V, H, W, 3] or one [H, W, 3] each, those of the first prompt first.
        token_ids: int64 [B, L], with an image token for every merged patch, padded on the right.
        token_mask: bool [B, L], False on padding; None where there is none. States of padding mean nothing.

    Raises:
        ValueError: Another number of image tokens than the views become.
    """
    vision, model = config.vision, planner.model
    sizes = [(view.shape[0] // vision.patch_size, view.shape[1] // vision.patch_size) for view in views]
    grid = torch.tensor([[1, rows, columns] for rows, columns in sizes], device=token_ids.device)
    mask = torch.ones_like(token_ids) if token_mask is None else token_mask.to(token_ids.dtype)
    tokens = _picture_tokens(model.visual, vision, views)
    embedded = model.get_input_embeddings()(token_ids)
    slots = (token_ids == model.config.image_token_id)[..., None].expand_as(embedded)
    if int(slots.sum()) != tokens.numel():
        raise ValueError(
            f"prompts with {int(slots.sum()) // embedded.shape[-1]} image tokens for views that become {len(tokens)}; "
            "each view needs as many as it becomes"
        )
    # The language model alone: the logits of the vocabulary are of no use to a robot.
    output = model.language_model(
        inputs_embeds=embedded.masked_scatter(slots, tokens.to(embedded.dtype)),
        position_ids=model.get_rope_index(token_ids, grid, attention_mask=mask)[0],
        attention_mask=mask,
        output_hidden_states=True,
        use_cache=False,
    )
    states: tuple[Tensor, ...] = output.hidden_states
    return states


def _picture_tokens(visual: Any, config: VisionConfig, views: Tensor | Sequence[Tensor]) -> Tensor:
    """Return the tokens of all views in their order, [tokens, dim]; views of one size are encoded together."""
    if isinstance(views, Tensor):
        return _tokens_of_one_size(visual, config, views).flatten(0, 1)
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, view in enumerate(views):
        by_size.setdefault(tuple(view.shape), []).append(index)
    found: dict[int, Tensor] = {}
    for indices in by_size.values():
        tokens = _tokens_of_one_size(visual, config, torch.stack([views[index] for index in indices]))
        found.update(zip(indices, tokens, strict=True))
    return torch.cat([found[index] for index in range(len(views))])


def _tokens_of_one_size(visual: Any, config: VisionConfig, views: Tensor) -> Tensor:
    """Return [V, tokens_per_view, dim] for views [V, H, W, 3]."""
    count, height, width, _ = views.shape
    if divides_into_windows(config, height, width):
        return encode_views(visual, config, view_grid(config, height, width, views.device), views)
    grid = torch.tensor([[1, height // config.patch_size, width // config.patch_size]] * count, device=views.device)
    tokens: Tensor = visual(patchify(views, config).to(visual.dtype), grid_thw=grid)
    return tokens.unflatten(0, (count, -1))
