"""A preset's policy whose weights take no memory, and the graphs that it becomes.

Each large weight is one number that is read again and again, so that everything is computed and exported as it would be
of a true policy, and a planner of 3 billion weights fits where it is only to be counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import torch
from onnx import ModelProto
from tokenizers import Tokenizer
from torch import Tensor

from st4vla.contracts.tensor_spec import SizeRange
from st4vla.export.onnx_export import MIN_TAIL, graph_models, without_weights
from st4vla.training.empty_policy import assign, build_empty_policy
from st4vla.training.model.planner import SPECIAL_TOKENS, special_token_id
from st4vla.training.policy import St4vlaPolicy
from st4vla.training.presets import Preset, get_preset
from st4vla.training.tokenizer import train_tokenizer

#: Weights of more numbers are one number. Smaller ones are drawn: the exporter joins small constants that are equal.
_DRAWN = 1024


def weightless_graphs(preset: Preset) -> Iterator[tuple[str, ModelProto]]:
    """Yield the graphs of a preset by name; where weights would be, they say what those are.

    This takes as long as an export; minutes for the preset `base`.
    """
    head_ids = prompt_head(preset)
    for name, model in graph_models(weightless_policy(preset), head_ids, len(preset.views)):
        yield name, without_weights(model)


def weightless_policy(preset: Preset) -> St4vlaPolicy:
    """Return a preset's policy in evaluation mode, most of its weights zero."""
    policy = build_empty_policy(preset.model, preset.action.dim, preset.action.horizon, preset.sampler)
    empty, generator = policy.state_dict(), torch.Generator().manual_seed(0)

    def read(name: str) -> Tensor:
        shape = empty[name].shape
        drawn = shape.numel() <= _DRAWN
        return torch.randn(shape, generator=generator) if drawn else torch.zeros(()).expand(shape)

    assign(policy, read)
    return policy


def prompt_sizes(preset: Preset) -> dict[str, SizeRange]:
    """Return what the dynamic dimensions of a preset's graphs may be."""
    longest = preset.prompt.max_tokens
    return {"L": SizeRange(len(prompt_head(preset)) + MIN_TAIL, longest, longest)}


def prompt_head(preset: Preset) -> list[int]:
    """Return token ids of the head of a preset's prompts."""
    tokenizer = untrained_tokenizer(preset.model.planner.vocabulary)
    ids: list[int] = tokenizer.encode(preset.prompt.head, add_special_tokens=False).ids
    return ids


def untrained_tokenizer(vocabulary: int) -> Tokenizer:
    """Return the built-in tokenizer, its special tokens where a planner of that vocabulary has them.

    The head of a prompt is as long as with Qwen's own. What Qwen has between the two is there and never used.
    """
    description: dict[str, Any] = json.loads(train_tokenizer().to_str())
    ids = {token: special_token_id(token, vocabulary) for token in SPECIAL_TOKENS}
    own = description["model"]["vocab"]
    own |= {f"unused {number}": number for number in range(len(own), min(ids.values()))} | ids
    for token in description["added_tokens"]:
        token["id"] = ids[token["content"]]
    return Tokenizer.from_str(json.dumps(description))


def shortened(name: str, language_layers: int, vision_layers: int) -> Preset:
    """Return a preset of full width whose planner has so many layers; the last of vision sees the whole view.

    The bridge reads the last states, as before.

    Raises:
        UsageError: An unknown preset.
    """
    preset = get_preset(name)
    model, planner = preset.model, preset.model.planner
    less = planner.depth - language_layers
    whole = {block for block in planner.vision.full_attention_blocks if block < vision_layers} | {vision_layers - 1}
    vision = msgspec.structs.replace(planner.vision, depth=vision_layers, full_attention_blocks=tuple(sorted(whole)))
    bridge = msgspec.structs.replace(
        model.bridge, start_layer=model.bridge.start_layer - less, end_layer=model.bridge.end_layer - less
    )
    config = msgspec.structs.replace(
        model, planner=msgspec.structs.replace(planner, depth=language_layers, vision=vision), bridge=bridge
    )
    return msgspec.structs.replace(preset, model=config)
