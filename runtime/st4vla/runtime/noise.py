"""The sampler's noise from a seed, the same on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def seeded_noise(seed: int, horizon: int, action_dim: int) -> npt.NDArray[np.float32]:
    """Return standard normal noise float32 [1, T, A] that depends on nothing but its arguments.

    Philox is counter-based: the stream of a seed needs no state of an earlier call. Seeds are 0 to 2**64 - 1.
    """
    generator = np.random.Generator(np.random.Philox(key=seed))
    noise: npt.NDArray[np.float32] = generator.standard_normal((1, horizon, action_dim), np.float32)
    return noise
