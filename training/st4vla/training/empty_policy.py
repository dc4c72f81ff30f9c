"""Build a policy without memory for its weights, and give it stored tensors one at a time.

A policy of the published size takes 18 GB in float32 before its first weight is read. Here its parameters are made on
PyTorch's meta device, which keeps shapes only, and are then replaced by tensors as they are stored, in their own dtype.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.modeling_utils import no_init_weights
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionRotaryEmbedding,
    Qwen2_5_VLRotaryEmbedding,
)

from st4vla.contracts.model_config import ModelConfig, SamplerConfig
from st4vla.training.policy import St4vlaPolicy

# Tied to the embedding, so it is not stored a second time.
TIED = "qwen_vl_interface.model.lm_head.weight"
EMBEDDING = "qwen_vl_interface.model.model.language_model.embed_tokens.weight"
MAX_LISTED = 20


class Shaped(Protocol):
    """A tensor, or what is known of one before it is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""

    @property
    def dtype(self) -> Any:
        """Its `torch.dtype`."""


def build_empty_policy(config: ModelConfig, action_dim: int, horizon: int, sampler: SamplerConfig) -> St4vlaPolicy:
    """Return a policy in evaluation mode whose parameters lie on the meta device.

    Its rotary frequencies, which no checkpoint holds, are real. `assign` makes the rest so.
    """
    # Drawing values for shapes without memory is half of the time that this takes.
    with torch.device("meta"), no_init_weights():
        policy = St4vlaPolicy(config, action_dim, horizon, sampler)
    vision = config.planner.vision
    for name, module in list(policy.named_modules()):
        # Made again rather than copied: beside its buffer, the module keeps a plain attribute with the same tensor.
        if isinstance(module, Qwen2_5_VLRotaryEmbedding):
            policy.set_submodule(name, Qwen2_5_VLRotaryEmbedding(module.config))
        elif isinstance(module, Qwen2_5_VisionRotaryEmbedding):
            policy.set_submodule(name, Qwen2_5_VisionRotaryEmbedding(vision.dim // vision.num_heads // 2))
    policy.eval()
    return policy


def find_misfits(policy: St4vlaPolicy, found: Mapping[str, Shaped]) -> str | None:
    """Return what keeps stored tensors from being a policy's weights, or None where nothing does.

    Args:
        policy: Of `build_empty_policy`.
        found: What is stored, by parameter name.
    """
    expected = {name: value for name, value in policy.state_dict().items() if name != TIED}
    missing = [f"{name} {list(value.shape)}" for name, value in expected.items() if name not in found]
    surplus = [f"{name} {list(value.shape)}" for name, value in found.items() if name not in expected]
    misshapen = [
        f"{name} {list(found[name].shape)} instead of {list(value.shape)}"
        for name, value in expected.items()
        if name in found and tuple(found[name].shape) != tuple(value.shape)
    ]
    mistyped = [
        f"{name} {found[name].dtype}" for name in expected if name in found and not found[name].dtype.is_floating_point
    ]
    kinds = {"missing": missing, "surplus": surplus, "of another shape": misshapen, "not floating-point": mistyped}
    return "; ".join(f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names) or None


def assign(policy: St4vlaPolicy, read: Callable[[str], Tensor]) -> None:
    """Replace each parameter by a stored tensor, in the tensor's own dtype and without a copy.

    Each keeps its `requires_grad`, and the language head stays tied to the embedding.

    Args:
        policy: Of `build_empty_policy`.
        read: Returns the tensor of a parameter's name; those of `find_misfits` must fit.

    Raises:
        RuntimeError: A module holds a tensor that is neither stored nor made by `build_empty_policy`.
    """
    for name, empty in policy.state_dict(keep_vars=True).items():
        if name != TIED:
            parent, _, leaf = name.rpartition(".")
            parameter = nn.Parameter(read(name), requires_grad=empty.requires_grad)
            setattr(policy.get_submodule(parent), leaf, parameter)
    planner = policy.qwen_vl_interface.model
    planner.lm_head.weight = planner.model.language_model.embed_tokens.weight
    empty_names = [name for name, value in chain(policy.named_parameters(), policy.named_buffers()) if value.is_meta]
    if empty_names:
        raise RuntimeError(f"no values for {_listed(empty_names)}; build_empty_policy must make these modules again")


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
