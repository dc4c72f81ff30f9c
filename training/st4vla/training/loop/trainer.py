"""The loop that every training runs in."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec
import torch
from torch import Tensor, nn

from st4vla.contracts.errors import TrainingError
from st4vla.training.loop.metrics import MetricsLog
from st4vla.training.loop.schedule import cosine_with_floor
from st4vla.training.loop.states import load_state, newest_state, save_state

LOG = logging.getLogger(__name__)
METRICS = "metrics.jsonl"
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
    """

    steps: int
    warmup_steps: int = 0
    floor: float = 0.0
    clip_norm: float = 1.0
    save_every: int = 500
    keep: int = 2
    seed: int = 0


class Objective(Protocol):
    """What is minimised."""

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Return weighted losses by name, scalars; their sum is minimised in one step.

        The samples must follow from the step alone. PyTorch's global generator is seeded for the step.
        """
        ...


def make_optimiser(groups: list[dict[str, object]]) -> torch.optim.AdamW:
    """Return AdamW with the reference's settings over groups of `parameter_groups`."""
    return torch.optim.AdamW(groups, betas=BETAS, eps=EPSILON, weight_decay=WEIGHT_DECAY)


def step_seed(seed: int, step: int) -> int:
    """Return a seed for a step, the same in every run and process."""
    return (seed * 1_000_003 + step) % 2**63


def train(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    objective: Objective,
    config: LoopConfig,
    run: Path,
    *,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> int:
    """Train from the newest state in `run`, or from the beginning, to the last step; return how many steps were taken.

    A run that was killed and is called again takes the same steps to the bit: all that is random, and the choice of
    samples, follow from the seed and the step. Metrics go to `metrics.jsonl`, states to ``step_*``.

    Args:
        model: In training mode afterwards.
        optimiser: From `make_optimiser`; each group has its ``peak`` learning rate.
        objective: What is minimised.
        config: How long and how fast.
        run: Folder of the run.
        progress: Called after each step, with the sum of the losses.

    Raises:
        TrainingError: A loss is not finite; the states before are as they were.
        StorageError: The disk is full; likewise.
        ManifestError: The states in `run` are of another model.
    """
    run.mkdir(parents=True, exist_ok=True)
    state = newest_state(run)
    first = 0 if state is None else load_state(state, model, optimiser)
    if state is not None:
        LOG.info("going on from %s", state)
    model.train()
    with MetricsLog(run / METRICS, first) as metrics:
        for step in range(first, config.steps):
            began = time.perf_counter()
            values = _take_step(model, optimiser, objective, config, step)
            metrics.log(step, values)
            progress(step, values["loss"])
            LOG.debug("step %d took %.3f s", step, time.perf_counter() - began)
            if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
                save_state(run, step + 1, model, optimiser, config.keep)
    return max(0, config.steps - first)


def _take_step(
    model: nn.Module, optimiser: torch.optim.Optimizer, objective: Objective, config: LoopConfig, step: int
) -> dict[str, float]:
    factor = cosine_with_floor(step, warmup_steps=config.warmup_steps, total_steps=config.steps, floor=config.floor)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor
    torch.manual_seed(step_seed(config.seed, step))
    optimiser.zero_grad(set_to_none=True)
    losses = objective.losses(step)
    total = torch.stack(list(losses.values())).sum()
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    loss = float(total.detach())
    if not math.isfinite(loss):
        msg = f"step {step}: the loss is {values}; lower the learning rate, or look for the sample that does this"
        raise TrainingError(msg)
    total.backward()
    norm = float(nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], config.clip_norm))
    if not math.isfinite(norm):
        msg = f"step {step}: the norm of the gradient is {norm}; lower the learning rate"
        raise TrainingError(msg)
    optimiser.step()
    return {"loss": loss, **values, "gradient_norm": norm, "rate_factor": factor}
