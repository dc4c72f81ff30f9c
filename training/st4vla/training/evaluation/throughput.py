"""Time the joint training step against a plain loop over Hugging Face's own code, in one process and in pairs.

Both sides have the same weights, samples, noise, dtype and optimiser. Steps alternate, ours first in one pair and last
in the next, so that what the machine does besides slows both. Our side is `train` itself with a `JointObjective`, with
all that it does in a step: it makes prompts into batches, looks at the losses and writes metrics. The plain side,
`EagerTraining`, gets its batches prepared and does none of that.

What concerns a GPU (``cuda``, peak memory) has not been run on one.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import msgspec
import numpy as np
import torch
from torch import Tensor

from st4vla.contracts.errors import TrainingError, UsageError
from st4vla.contracts.model_config import ModelConfig
from st4vla.training.actions.batches import collate as collate_moments
from st4vla.training.actions.demonstrations import Demonstrations
from st4vla.training.actions.objective import ActionObjective, JointObjective
from st4vla.training.evaluation.eager import (
    EagerTraining,
    autocast,
    prepare_actions,
    prepare_conversations,
)
from st4vla.training.evaluation.synthetic import synthetic_items, synthetic_moments, synthetic_tokenizer
from st4vla.training.grounding.batches import GroundingSet
from st4vla.training.grounding.batches import collate as collate_items
from st4vla.training.grounding.objective import GroundingObjective
from st4vla.training.loop.order import Draw, MixtureOrder
from st4vla.training.loop.parameters import parameter_groups
from st4vla.training.loop.trainer import LoopConfig, Objective, make_optimiser, train
from st4vla.training.model.planner import special_token_id
from st4vla.training.policy import St4vlaPolicy, build_policy
from st4vla.training.presets import get_preset

T = TypeVar("T")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: Largest relative difference of the losses of both sides in float32, and in bfloat16, which has 8 bits.
TOLERANCE, COARSE_TOLERANCE = 1e-4, 2e-2
#: Batches that come in turn, and pairs that are not counted, so that each batch has been seen before.
BATCHES, WARM_UP = 2, 2
GROUNDING_WEIGHT, CLIP_NORM, RATE = 0.1, 1.0, 1e-4


class ThroughputConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is timed.

    Attributes:
        preset: Sizes of the policy.
        batch_size: Moments in a step, each with the preset's views.
        grounding_batch_size: Conversations in a step, each with one picture.
        noise_draws: Noises for each moment.
        pairs: Steps of each side that count.
        device: "cpu" or "cuda".
        dtype: What forward passes compute in; weights are float32.
        planner_layers: Layers of the language model that are kept; None keeps all.
        seed: Of weights, samples and noise.
    """

    preset: str = "tiny"
    batch_size: int = 16
    grounding_batch_size: int = 16
    noise_draws: int = 4
    pairs: int = 10
    device: str = "cpu"
    dtype: str = "float32"
    planner_layers: int | None = None
    seed: int = 0


class StepCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a step took.

    Attributes:
        seconds: By the clock.
        cpu_seconds: Of all threads of this process; a busy machine adds little to it.
        peak_bytes: Most memory of the GPU at once, less what the other side holds there; None on a CPU.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int | None


class Throughput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Both sides' steps, pair by pair; with even numbers ours came first.

    Attributes:
        ours: Steps of this project.
        eager: Steps of the plain loop.
        losses: Of the check before, in float32, by name: ours, and the plain loop's.
        parameters: That learn, on each side.
    """

    ours: tuple[StepCost, ...]
    eager: tuple[StepCost, ...]
    losses: dict[str, tuple[float, float]]
    parameters: int

    def ratios(self) -> list[float]:
        """Return for each pair how many samples this project takes in the time that the plain loop takes for one."""
        return [eager.seconds / ours.seconds for ours, eager in zip(self.ours, self.eager, strict=True)]

    def summary(self, samples: int) -> dict[str, object]:
        """Return medians over the pairs; the ratio with its quartiles and extremes.

        Args:
            samples: Of a step.
        """
        ratios = self.ratios()
        figures: dict[str, object] = {
            "ratio": float(np.median(ratios)),
            "ratio_quartiles": [float(each) for each in np.percentile(ratios, (25, 75))],
            "ratio_extremes": [min(ratios), max(ratios)],
            "ratio_of_cpu_time": _median(self.eager, "cpu_seconds") / _median(self.ours, "cpu_seconds"),
        }
        for side, steps in (("ours", self.ours), ("eager", self.eager)):
            figures[f"{side}_step_s"] = _median(steps, "seconds")
            figures[f"{side}_samples_per_s"] = samples / _median(steps, "seconds")
            peaks = [step.peak_bytes for step in steps if step.peak_bytes is not None]
            figures[f"{side}_peak_gb"] = max(peaks) / 1e9 if peaks else None
        return figures


class AutocastObjective:
    """An objective that computes as Accelerate's mixed precision does.

    Attributes:
        dtype: What its forward passes compute in.
    """

    def __init__(self, objective: Objective, device: torch.device) -> None:
        self.dtype = torch.float32
        self._objective, self._device = objective, device

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Return the losses of a step."""
        with autocast(self._device, self.dtype):
            return self._objective.losses(step)


@dataclass(frozen=True)
class Sides:
    """Both sides with the same weights and samples.

    Attributes:
        policy: Ours.
        optimiser: Of ours.
        objective: The joint objective.
        eager: The plain loop, with a policy and an optimiser of its own.
    """

    policy: St4vlaPolicy
    optimiser: torch.optim.Optimizer
    objective: AutocastObjective
    eager: EagerTraining

    def compute_in(self, dtype: torch.dtype) -> None:
        """Set what the forward passes of both compute in; at first it is float32."""
        self.objective.dtype = self.eager.dtype = dtype


def build_sides(config: ThroughputConfig) -> Sides:
    """Return both sides, untrained, from synthetic samples.

    Raises:
        UsageError: An unknown preset, or a number of layers that cannot be cut.
    """
    preset = get_preset(config.preset)
    model = preset.model if config.planner_layers is None else cut_planner(preset.model, config.planner_layers)
    device = torch.device(config.device)
    policies = [
        build_policy(model, preset.action.dim, preset.action.horizon, preset.sampler, config.seed).to(device)
        for _ in range(2)
    ]
    policies[1].load_state_dict(policies[0].state_dict())
    optimisers = [make_optimiser(parameter_groups(policy, rate=RATE, rates={})) for policy in policies]

    tokenizer = synthetic_tokenizer(model.planner.vocabulary)
    padding_id = special_token_id("<|endoftext|>", model.planner.vocabulary)
    chunk = (preset.action.horizon, preset.action.dim)
    moments = synthetic_moments(
        BATCHES * config.batch_size, len(preset.views), model.image_size, chunk, seed=config.seed
    )
    items = synthetic_items(BATCHES * config.grounding_batch_size, model, tokenizer, seed=config.seed + 1)
    prepared = [
        (
            prepare_actions(
                collate_moments(
                    _batch(moments, config.batch_size, number), preset.prompt, tokenizer, padding_id, "cpu"
                ),
                model.planner.vision,
            ),
            prepare_conversations(
                collate_items(_batch(items, config.grounding_batch_size, number), padding_id), model.planner.vision
            ),
        )
        for number in range(BATCHES)
    ]
    joint = JointObjective(
        [
            ActionObjective(
                policies[0],
                tokenizer,
                preset.prompt,
                # All that an objective asks of its data sets is a sample by its number.
                [cast(Demonstrations, moments)],
                _InTurn(len(moments)),
                batch_size=config.batch_size,
                seed=config.seed,
                noise_draws=config.noise_draws,
            ),
            GroundingObjective(
                policies[0],
                [cast(GroundingSet, items)],
                _InTurn(len(items)),
                batch_size=config.grounding_batch_size,
                weight=GROUNDING_WEIGHT,
            ),
        ]
    )
    eager = EagerTraining(
        policies[1],
        optimisers[1],
        prepared,
        seed=config.seed,
        noise_draws=config.noise_draws,
        weight=GROUNDING_WEIGHT,
        clip_norm=CLIP_NORM,
    )
    return Sides(policies[0], optimisers[0], AutocastObjective(joint, device), eager)


def check_agreement(sides: Sides, tolerance: float) -> dict[str, tuple[float, float]]:
    """Return the losses of the first batches on both sides without dropout: ours, and the plain loop's.

    Raises:
        TrainingError: They differ by more than `tolerance`, relatively.
    """
    both = (sides.policy, sides.eager.policy)
    for policy in both:
        policy.eval()
    # Convolutions of a GPU would otherwise be rounded to TensorFloat-32, matrix products not.
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        ours = sides.objective.losses(0)
        eager = {"action": sides.eager.action_loss(0), "grounding": sides.eager.grounding_loss(0)}
    for policy in both:
        policy.train()
    losses = {name: (float(loss), float(eager[name])) for name, loss in ours.items()}
    # In this order, so that NaN is refused.
    wrong = {name: pair for name, pair in losses.items() if not abs(pair[0] - pair[1]) <= tolerance * abs(pair[1])}
    if wrong:
        shown = "; ".join(f"{name} {mine:.7g} and {other:.7g}" for name, (mine, other) in wrong.items())
        msg = f"the two sides compute different losses (ours and the plain loop's): {shown}; no ratio means anything"
        raise TrainingError(msg)
    return losses


def measure_throughput(
    config: ThroughputConfig, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> Throughput:
    """Check that both sides compute the same, and time them.

    Args:
        config: What is timed.
        progress: Called with the pairs that are done, and of how many; those for warming up count here.

    Raises:
        TrainingError: The losses of both sides differ, or one is not finite.
        UsageError: See `build_sides`.
    """
    sides = build_sides(config)
    losses = check_agreement(sides, TOLERANCE)
    if config.dtype != "float32":
        sides.compute_in(DTYPES[config.dtype])
        check_agreement(sides, COARSE_TOLERANCE)
    pairs = _Pairs(sides, WARM_UP + config.pairs, progress)
    # A constant rate. The last state is not wanted: the run is left before it would be saved.
    loop = LoopConfig(steps=pairs.total, floor=1.0, clip_norm=CLIP_NORM, save_every=pairs.total, seed=config.seed)
    with tempfile.TemporaryDirectory() as folder:
        try:
            pairs.begin()
            train(sides.policy, sides.optimiser, sides.objective, loop, Path(folder), progress=pairs.step_taken)
        except _DoneError:
            pass
    learning = sum(each.numel() for group in sides.optimiser.param_groups for each in group["params"])
    return Throughput(tuple(pairs.ours[WARM_UP:]), tuple(pairs.eager[WARM_UP:]), losses, learning)


def cut_planner(model: ModelConfig, layers: int) -> ModelConfig:
    """Return a model whose language model has its first layers only; the bridge reads as many states at their end.

    Raises:
        UsageError: More layers than there are, or fewer than the bridge reads.
    """
    read = model.bridge.num_layers
    fewest = max(1, read - 1)
    if not fewest <= layers <= model.planner.depth:
        msg = f"--planner-layers {layers}: this preset can be cut to {fewest} up to {model.planner.depth} layers"
        raise UsageError(msg)
    bridge = msgspec.structs.replace(model.bridge, start_layer=layers + 1 - read, end_layer=layers + 1)
    return msgspec.structs.replace(model, planner=msgspec.structs.replace(model.planner, depth=layers), bridge=bridge)


class _InTurn(MixtureOrder):
    """The samples of one data set in their order, over and over, so that batches can be prepared."""

    def __init__(self, size: int) -> None:
        super().__init__([size], [1.0], 0)
        self._size = size

    def draw(self, number: int) -> Draw:
        return Draw(0, number % self._size)


class _DoneError(Exception):
    """Leaves `train` when all pairs are timed."""


class _Pairs:
    """Times the steps of `train`, and takes the plain loop's in between: ours, theirs, theirs, ours, ours, ..."""

    def __init__(self, sides: Sides, total: int, progress: Callable[[int, int], None]) -> None:
        self.total = total
        self.ours: list[StepCost] = []
        self.eager: list[StepCost] = []
        self._sides, self._progress = sides, progress
        self._device = next(sides.policy.parameters()).device

    def begin(self) -> None:
        """Start the clocks."""
        self._synchronise()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._began = time.perf_counter(), time.process_time()

    def step_taken(self, step: int, loss: float) -> None:
        """Note one of our steps, which ended now, and take the plain loop's that come before our next one.

        Raises:
            _DoneError: All are taken.
        """
        sides = self._sides
        self.ours.append(self._end(sides.eager.policy, sides.eager.optimiser))
        if step % 2 == 0:
            for number in range(step, min(step + 2, self.total)):
                self.begin()
                sides.eager.take_step(number)
                self.eager.append(self._end(sides.policy, sides.optimiser))
        self._progress(step + 1, self.total)
        if step + 1 == self.total:
            raise _DoneError
        self.begin()

    def _end(self, other: St4vlaPolicy, optimiser: torch.optim.Optimizer) -> StepCost:
        self._synchronise()
        seconds, cpu_seconds = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        peak = None
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device) - _held_bytes(other, optimiser)
        return StepCost(seconds, cpu_seconds, peak)

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _held_bytes(policy: St4vlaPolicy, optimiser: torch.optim.Optimizer) -> int:
    """Return the bytes of a side between its steps: weights, gradients, and what the optimiser remembers."""
    held = [*policy.parameters(), *policy.buffers()]
    held += [each.grad for each in policy.parameters() if each.grad is not None]
    held += [each for state in optimiser.state.values() for each in state.values() if isinstance(each, Tensor)]
    return sum(each.nbytes for each in held if each.device.type == "cuda")


def _batch(samples: Sequence[T], size: int, number: int) -> Sequence[T]:
    return samples[number * size : (number + 1) * size]


def _median(steps: Sequence[StepCost], name: str) -> float:
    return float(np.median([getattr(step, name) for step in steps]))
