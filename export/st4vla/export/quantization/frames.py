"""Moments of recorded demonstrations, as what a policy is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from st4vla.contracts.ddim import ddim_steps
from st4vla.contracts.errors import DatasetError
from st4vla.runtime.engines.engine import Array
from st4vla.runtime.noise import seeded_noise
from st4vla.training.actions.demonstrations import Demonstrations
from st4vla.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Frame:
    """One question to a policy.

    Attributes:
        views: uint8 [V, H, W, 3].
        token_ids: int64 [1, L].
        noise: What its chunk is denoised from, [1, T, A].
        instruction: What the token ids say.
    """

    views: Array
    token_ids: Array
    noise: Array
    instruction: str


def load_frames(checkpoint: Checkpoint, folder: Path, split: str, *, count: int, seed: int) -> list[Frame]:
    """Return moments of a LeRobot data set, drawn without repetition.

    Args:
        checkpoint: Whose views, prompt and tokenizer are used.
        folder: The data set.
        split: Its episodes.
        count: How many; all of them, if there are fewer.
        seed: Which, and the noise.

    Raises:
        DatasetError: The data set cannot be read, does not fit the policy, or has no such moments.
    """
    source = checkpoint.manifest
    moments = Demonstrations(folder, split, source.action, source.views, any_rate=True)
    if not len(moments):
        raise DatasetError(f"{folder} has no moments in {split!r}; name another split or another data set")
    chosen = np.random.default_rng(seed).permutation(len(moments))[:count]
    frames = []
    # In the order in which videos are decoded.
    for number in sorted(int(index) for index in chosen):
        moment = moments[number]
        text = source.prompt.render(moment.instruction)
        ids = checkpoint.tokenizer.encode(text, add_special_tokens=False).ids
        noise = seeded_noise(seed + number, source.action.horizon, source.action.dim)
        frames.append(Frame(moment.views.numpy(), np.array([ids], np.int64), noise, moment.instruction))
    return frames


def sampler_feeds(condition: Array, noise: Array, num_steps: int) -> Iterator[dict[str, Array]]:
    """Yield for each step what the sampler's graph is given beside the ``chunk``; `noise` gives shapes alone."""
    nothing = {"prefix": np.zeros_like(noise), "prefix_weights": np.zeros(noise.shape[:2], np.float32)}
    for step in ddim_steps(num_steps):
        yield {
            "condition": condition,
            "timestep": np.array([step.timestep], np.int64),
            "coefficients": np.array(step.coefficients, np.float32),
            **nothing,
        }


def inputs_of(frame: Frame) -> Mapping[str, Array]:
    """Return a frame as the planner's inputs."""
    return {"views": frame.views, "token_ids": frame.token_ids}
