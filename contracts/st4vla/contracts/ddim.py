"""The noise schedule, and the steps that DDIM takes through it.

The schedule is the squared cosine of Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021),
over 100 timesteps; the sampler is that of Song et al., "Denoising Diffusion Implicit Models" (2021), with eta 0.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import NamedTuple

NUM_TRAIN_TIMESTEPS = 100
MAX_BETA = 0.999
COSINE_OFFSET = 0.008


class DdimCoefficients(NamedTuple):
    """What a step multiplies by: x0 = signal x - noise eps, then next = next_signal x0 + next_noise eps.

    Attributes:
        signal: sqrt(1 / ab), ab being the share of signal left in the variance.
        noise: sqrt(1 / ab - 1).
        pull: sqrt(ab / (1 - ab)): by how much eps changes where x0 is pulled by one.
        next_signal: sqrt of the next step's ab; 1 after the last step.
        next_noise: sqrt of 1 less the next step's ab; 0 after the last step.
    """

    signal: float
    noise: float
    pull: float
    next_signal: float
    next_noise: float


@dataclass(frozen=True)
class DdimStep:
    """One step of a sampler: the timestep that the network is told, and the coefficients."""

    timestep: int
    coefficients: DdimCoefficients


@cache
def betas() -> tuple[float, ...]:
    """Return beta of each timestep, in (0, MAX_BETA]."""

    def alpha_bar(fraction: float) -> float:
        return math.cos((fraction + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2

    count = NUM_TRAIN_TIMESTEPS
    return tuple(min(1 - alpha_bar((i + 1) / count) / alpha_bar(i / count), MAX_BETA) for i in range(count))


@cache
def alphas_cumprod() -> tuple[float, ...]:
    """Return alpha bar of each timestep: the share of signal left in the variance."""
    return tuple(accumulate((1.0 - beta for beta in betas()), operator.mul))


@cache
def _subsets() -> dict[int, tuple[int, ...]]:
    subsets: dict[int, tuple[int, ...]] = {}
    for stride in range(1, NUM_TRAIN_TIMESTEPS):
        steps = tuple(range(0, NUM_TRAIN_TIMESTEPS, stride))
        subsets.setdefault(len(steps), steps)
    return subsets | {1: (NUM_TRAIN_TIMESTEPS // 2,)}


def sampling_timesteps(num_steps: int) -> tuple[int, ...]:
    """Return the timesteps that a sampler of `num_steps` visits, ascending.

    They start at 0 and are spaced by the smallest whole stride that gives exactly `num_steps` of them, which not every
    number has. A single step takes the middle timestep.

    Raises:
        ValueError: No whole stride gives that number of steps; the message lists those that have one.
    """
    subsets = _subsets()
    if num_steps not in subsets:
        valid = ", ".join(str(count) for count in sorted(subsets))
        raise ValueError(f"no whole stride gives {num_steps} steps of {NUM_TRAIN_TIMESTEPS}; choose one of {valid}")
    return subsets[num_steps]


@cache
def ddim_steps(num_steps: int) -> tuple[DdimStep, ...]:
    """Return the steps of a sampler, from noise to actions.

    Raises:
        ValueError: As `sampling_timesteps`.
    """
    timesteps, table = sampling_timesteps(num_steps), alphas_cumprod()
    steps = []
    for index in reversed(range(num_steps)):
        kept = table[timesteps[index]]
        kept_next = table[timesteps[index - 1]] if index else 1.0
        coefficients = DdimCoefficients(
            signal=math.sqrt(1 / kept),
            noise=math.sqrt(1 / kept - 1),
            pull=math.sqrt(kept) / math.sqrt(1 - kept),
            next_signal=math.sqrt(kept_next),
            next_noise=math.sqrt(1 - kept_next),
        )
        steps.append(DdimStep(timesteps[index], coefficients))
    return tuple(steps)
