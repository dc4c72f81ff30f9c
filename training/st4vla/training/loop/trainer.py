"""The loop that every training runs in, on one process or on many."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Protocol

import msgspec
import torch
from torch import Tensor, nn

from st4vla.contracts.errors import TrainingError
from st4vla.training.loop.average import WeightAverage
from st4vla.training.loop.metrics import MetricsLog
from st4vla.training.loop.probes import Probe, due
from st4vla.training.loop.schedule import cosine_with_floor
from st4vla.training.loop.states import load_averages, load_optimiser, load_state, newest_state, save_state
from st4vla.training.loop.world import World

LOG = logging.getLogger(__name__)
METRICS, EVENTS = "metrics.jsonl", "tensorboard"
BETAS, EPSILON, WEIGHT_DECAY = (0.9, 0.95), 1e-8, 1e-8


class LoopConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long and how fast to train.

    Attributes:
        steps: Optimiser steps of the run.
        warmup_steps: Steps until the peak learning rate.
        floor: The last learning rate, as a share of the peak.
        clip_norm: Largest norm of the gradient over all parameters; it is scaled down to that.
        save_every: Steps between states on disk.
        keep: States that are kept.
        seed: Of everything random.
        average_decay: Decay of a moving average of the weights; 0 is none. See `WeightAverage`.
    """

    steps: int
    warmup_steps: int = 0
    floor: float = 0.0
    clip_norm: float = 1.0
    save_every: int = 500
    keep: int = 2
    seed: int = 0
    average_decay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a schedule that cannot be followed before anything is loaded or measured."""
        cosine_with_floor(0, warmup_steps=self.warmup_steps, total_steps=self.steps, floor=self.floor)


class Objective(Protocol):
    """What is minimised."""

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Return weighted losses by name, scalars; their sum is minimised in one step.

        The samples must follow from the step alone. PyTorch's global generator is seeded for the step.

        With several processes, each takes its part of the step's batch (`Processes.part`) and returns shares whose mean
        over the processes is the loss of the whole (`Processes.mean`), under the same names in the same order. The
        generator is then seeded for step and process: noise that belongs to samples must be drawn from a generator of
        its own, for the whole batch, and then parted. Sharded parameters moreover have to be reached by the losses in
        every process: choose with `torch.where`, not by a branch.
        """
        ...


class Step(nn.Module):  # type: ignore[misc]
    """A model and what it is trained for: DDP and FSDP2 hook into `forward`, which an objective goes past.

    Args:
        model: What learns.
        objective: Computes with that model.
    """

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, step: int) -> dict[str, Tensor]:
        """Return the losses of a step by name, a share of each."""
        return dict(self.objective.losses(step))


def make_optimiser(groups: list[dict[str, object]]) -> torch.optim.AdamW:
    """Return AdamW with the reference's settings over groups of `parameter_groups`."""
    return torch.optim.AdamW(groups, betas=BETAS, eps=EPSILON, weight_decay=WEIGHT_DECAY)


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Return a seed for a step, the same in every run; it differs between processes if their rank is given."""
    return (seed * 1_000_003 + step + rank * 0x9E37_79B9_7F4A_7C15) % 2**63


def train(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    objective: Objective,
    config: LoopConfig,
    run: Path,
    *,
    world: World | None = None,
    probes: Sequence[Probe] = (),
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> int:
    """Train from the newest state in `run`, or from the beginning, to the last step; return how many steps were taken.

    A run that was killed and is called again takes the same steps to the bit: all that is random, and the choice of
    samples, follow from the seed and the step. Metrics go to `metrics.jsonl` and `tensorboard`, states to ``step_*``.
    All processes of a launch call this; the first one writes. The last state is that of the last step.

    Args:
        model: In training mode afterwards; sharded, if the launch says so. If weights are averaged, it holds the
            averages then, and measurements see them; states hold both.
        optimiser: From `make_optimiser`; each group has its ``peak`` learning rate.
        objective: What is minimised.
        config: How long and how fast.
        run: Folder of the run.
        world: Where to compute, from `join_world`; None is this process alone.
        probes: Measurements along the way; their figures stand in the metrics of the step that they follow.
        progress: Called after each step with the sum of the losses, in the first process.

    Raises:
        TrainingError: A loss is not finite; the states before are as they were. Every process raises it.
        StorageError: The disk is full; likewise.
        ManifestError: The states in `run` are of another model.
    """
    world = World() if world is None else world
    run.mkdir(parents=True, exist_ok=True)
    state = world.first_only(lambda: newest_state(run))
    world.widen(model)
    first = 0 if state is None else load_state(state, model, None)
    module, optimiser = world.prepare(Step(model, objective), optimiser, config.clip_norm)
    average = WeightAverage(model, config.average_decay) if config.average_decay else None
    if state is not None:
        load_optimiser(state, optimiser, world)
        if average is not None:
            average.load(load_averages(state))
        LOG.info("going on from %s", state)
    module.train()
    with ExitStack() as stack:
        metrics = stack.enter_context(MetricsLog(run / METRICS, first, run / EVENTS)) if world.is_first else None
        for step in range(first, config.steps):
            began = time.perf_counter()
            values = _take_step(module, optimiser, config, step, world)
            if average is not None:
                average.update(step + 1)
            for probe in due(probes, step + 1):
                with nullcontext() if average is None else average.stored():
                    values |= probe.measure()
                module.train()
            if metrics is not None:
                metrics.log(step, values)
                progress(step, values["loss"])
            LOG.debug("step %d took %.3f s", step, time.perf_counter() - began)
            if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
                averages = None if average is None else average.averages
                save_state(run, step + 1, model, optimiser, averages, keep=config.keep, world=world)
    if average is not None:
        average.store()
    return max(0, config.steps - first)


def _take_step(
    module: nn.Module, optimiser: torch.optim.Optimizer, config: LoopConfig, step: int, world: World
) -> dict[str, float]:
    factor = cosine_with_floor(step, warmup_steps=config.warmup_steps, total_steps=config.steps, floor=config.floor)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor
    torch.manual_seed(step_seed(config.seed, step, world.processes.rank))
    optimiser.zero_grad(set_to_none=True)
    losses = module(step)
    stacked = torch.stack(list(losses.values()))
    # Every process sees all of them, so that all stop together.
    shares = world.gather(stacked.detach())
    values = dict(zip(losses, shares.mean(0).tolist(), strict=True))
    loss = float(shares.sum(1).mean())
    if not math.isfinite(loss):
        ranks = [rank for rank, share in enumerate(shares.sum(1).tolist()) if not math.isfinite(share)]
        where = f" in process {', '.join(map(str, ranks))}" if len(shares) > 1 else ""
        msg = (
            f"step {step}: the loss is {values}{where}; lower the learning rate, or look for the sample that does this"
        )
        raise TrainingError(msg)
    world.backward(stacked.sum())
    norm = world.clip([p for g in optimiser.param_groups for p in g["params"]], config.clip_norm)
    if not math.isfinite(norm):
        msg = f"step {step}: the norm of the gradient is {norm}; lower the learning rate"
        raise TrainingError(msg)
    optimiser.step()
    return {"loss": loss, **values, "gradient_norm": norm, "rate_factor": factor}
