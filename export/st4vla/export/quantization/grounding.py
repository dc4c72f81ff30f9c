"""What smaller numbers do to the boxes that the planner finds.

The planner answers in words with PyTorch, while the products that its graph has are rounded as the graph's are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from st4vla.export.quantization.blocks import block_of
from st4vla.export.quantization.lowering import quantize_weight
from st4vla.export.quantization.recipe import GraphRecipe
from st4vla.export.quantization.scaling import Scaling
from st4vla.training.checkpoint import Checkpoint
from st4vla.training.grounding.accuracy import ask_for_boxes
from st4vla.training.grounding.batches import GroundingSet
from st4vla.training.grounding.samples import Task
from st4vla.training.policy import St4vlaPolicy

_TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class BoxJudge:
    """Asks a policy's planner for held-out boxes.

    Args:
        checkpoint: The policy.
        samples: File of grounding samples.
        images: Folder that the pictures' names start from.
        count: How many boxes.
        seed: Which.

    Raises:
        DatasetError: The samples cannot be read, or none of them asks for a box.
    """

    def __init__(self, checkpoint: Checkpoint, samples: Path, images: Path, *, count: int, seed: int) -> None:
        self._policy, self._tokenizer = checkpoint.policy, checkpoint.tokenizer
        self._samples = GroundingSet(samples, images, checkpoint.tokenizer, (Task.BOX,))
        self._count, self._seed = count, seed

    def iou(self) -> float:
        """Return the mean intersection over union of the policy as it is, in points of a hundred."""
        found = ask_for_boxes(self._policy, self._tokenizer, self._samples, count=self._count, seed=self._seed)
        return 100 * float(np.mean([each.iou for each in found]))

    def lowered_iou(self, recipe: GraphRecipe, scalings: Mapping[str, Scaling]) -> float:
        """Return the same with the planner's products rounded as a recipe says."""
        with lowered_planner(self._policy, recipe, scalings):
            return self.iou()


@contextmanager
def lowered_planner(policy: St4vlaPolicy, recipe: GraphRecipe, scalings: Mapping[str, Scaling]) -> Iterator[None]:
    """Round the products of a policy's planner for a while."""
    model = policy.qwen_vl_interface.model.model
    parts = {"visual": model.visual, "layers": model.language_model.layers}
    with ExitStack() as stack:
        for part, root in parts.items():
            for name, module in root.named_modules():
                path = f"{part}.{name}"
                precision = recipe.precisions.get(block_of(f"{path}/MatMul"), "float32")
                if isinstance(module, nn.Linear) and precision != "float32":
                    around = recipe.float_types().get(block_of(f"{path}/MatMul"), "float32")
                    stack.enter_context(_rounded(module, precision, around, scalings.get(path)))
        yield


@contextmanager
def _rounded(linear: nn.Linear, precision: str, around: str, scaling: Scaling | None) -> Iterator[None]:
    """Round a linear layer's weight, what it multiplies and what it makes for a while."""
    weight = linear.weight.data
    used = scaling if precision == "int8" else None
    linear.weight.data = _weight(weight, precision, around, used)

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        del module
        x = inputs[0]
        if precision == "int8_dynamic":
            x = _dynamically(x)
        x = _through(x, around)
        return (x if used is None else torch.from_numpy(used.rounded(x.float().numpy())).to(x.dtype),)

    def after(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        del module, inputs
        return _through(output, around)

    hooks = [linear.register_forward_pre_hook(before), linear.register_forward_hook(after)]
    try:
        yield
    finally:
        linear.weight.data = weight
        for hook in hooks:
            hook.remove()


def _weight(weight: Tensor, precision: str, around: str, scaling: Scaling | None) -> Tensor:
    """Return a weight [out, in], rounded."""
    turned = weight.float().numpy().T
    smoothed = turned if scaling is None else turned * scaling.smoothing[:, None]
    quantized = quantize_weight(precision, smoothed, around)
    if quantized is None:
        return _through(weight, around)
    return torch.from_numpy(np.ascontiguousarray(quantized.floats().T)).to(weight.dtype)


def _through(x: Tensor, around: str) -> Tensor:
    return x if around == "float32" else x.to(_TYPES[around]).to(x.dtype)


def _dynamically(x: Tensor) -> Tensor:
    """Return x as uint8 of its own range would hold it, as ONNX's DynamicQuantizeLinear does."""
    low, high = x.min().clamp(max=0), x.max().clamp(min=0)
    scale = ((high - low) / 255).clamp(min=1e-12)
    zero = (-low / scale).round().clamp(0, 255)
    return ((x / scale).round() + zero).clamp(0, 255).sub(zero) * scale
