"""The learning rate over the steps of a run."""

from __future__ import annotations

import math

from st4vla.contracts.errors import UsageError


def cosine_with_floor(step: int, *, warmup_steps: int, total_steps: int, floor: float) -> float:
    """Return the factor on the peak learning rate at a step, counted from 0.

    It rises in a line to 1 over the warm-up, then falls on half a cosine to `floor` at the last step, and stays there.
    (Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, without the restarts.)

    Args:
        step: From 0.
        warmup_steps: Steps of the rise; step `warmup_steps` has the peak.
        total_steps: Steps of the run.
        floor: The smallest factor after the warm-up, in [0, 1].

    Raises:
        UsageError: The warm-up is longer than the run, or the floor leaves [0, 1].
    """
    if not 0 <= warmup_steps < max(total_steps, 1) or not 0 <= floor <= 1:
        msg = (
            f"warm-up of {warmup_steps} steps in a run of {total_steps}, floor {floor:g}: "
            "the warm-up must be shorter than the run and the floor lie in [0, 1]"
        )
        raise UsageError(msg)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
