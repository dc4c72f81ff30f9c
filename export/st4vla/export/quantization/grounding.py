"""What smaller numbers do to the boxes that the planner finds.

The planner answers in words with PyTorch, while the products that its graph has are rounded as the graph's are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from st4vla.export.quantization.blocks import block_of
from st4vla.export.quantization.lowering import quantize_weight
from st4vla.export.quantization.recipe import GraphRecipe
from st4vla.export.quantization.scaling import Observed, Scaling
from st4vla.export.quantization.weights import Floats
from st4vla.training.checkpoint import Checkpoint
from st4vla.training.grounding.accuracy import ask_for_boxes
from st4vla.training.grounding.batches import GroundingSet
from st4vla.training.grounding.samples import Task
from st4vla.training.policy import St4vlaPolicy

#: Rows that are kept of what a product multiplies, about, and of how many runs.
_ROWS_OF_A_RUN, _RUNS_KEPT = 24, 64
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


def observe_answers(
    checkpoint: Checkpoint, samples: Path, images: Path, *, count: int, seed: int
) -> dict[str, Observed]:
    """Return what the planner's products multiply while it is asked for boxes, by module.

    Words of questions and answers reach ranges that instructions to the robot do not.

    Args:
        checkpoint: The policy.
        samples: File of grounding samples; not those that it is judged by.
        images: Folder that the pictures' names start from.
        count: How many are asked.
        seed: Which.

    Raises:
        DatasetError: The samples cannot be read, or none of them asks for a box.
    """
    rows: dict[str, list[Floats]] = {}
    largest: dict[str, Floats] = {}

    def watch(path: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del module
        x = inputs[0].float().flatten(0, -2).numpy()
        if len(rows.setdefault(path, [])) < _RUNS_KEPT:
            rows[path].append(x[:: max(1, len(x) // _ROWS_OF_A_RUN)].copy())
        largest[path] = np.maximum(largest.get(path, 0.0), np.abs(x).max(axis=0))

    hooks = [module.register_forward_pre_hook(partial(watch, path)) for path, module in _linears(checkpoint.policy)]
    try:
        BoxJudge(checkpoint, samples, images, count=count, seed=seed).iou()
    finally:
        for hook in hooks:
            hook.remove()
    return {path: Observed(np.concatenate(rows[path]), largest[path]) for path in rows}


@contextmanager
def lowered_planner(policy: St4vlaPolicy, recipe: GraphRecipe, scalings: Mapping[str, Scaling]) -> Iterator[None]:
    """Round the products of a policy's planner for a while."""
    with ExitStack() as stack:
        for path, linear in _linears(policy):
            block = block_of(f"{path}/MatMul")
            precision = recipe.precisions.get(block, "float32")
            if precision != "float32":
                around = recipe.float_types().get(block, "float32")
                stack.enter_context(_rounded(linear, precision, around, scalings.get(path)))
        yield


def _linears(policy: St4vlaPolicy) -> list[tuple[str, nn.Linear]]:
    """Return the planner's linear layers, by the paths that its graph's products have."""
    model = policy.qwen_vl_interface.model.model
    parts = {"visual": model.visual, "layers": model.language_model.layers}
    return [
        (f"{part}.{name}", module)
        for part, root in parts.items()
        for name, module in root.named_modules()
        if isinstance(module, nn.Linear)
    ]


@contextmanager
def _rounded(linear: nn.Linear, precision: str, around: str, scaling: Scaling | None) -> Iterator[None]:
    """Round a linear layer's weight, what it multiplies and what it makes for a while."""
    weight = linear.weight.data
    used = scaling if precision == "int8" else None
    linear.weight.data = _weight(weight, precision, around, scaling)

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
    if scaling is not None and precision == "int8":
        turned = turned * scaling.smoothing[:, None]
    quantized = quantize_weight(precision, turned, around, scaling)
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
