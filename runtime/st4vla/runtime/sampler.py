"""From noise to actions: the sampler's engine, run once a step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from st4vla.contracts.ddim import ddim_steps
from st4vla.runtime.engines.engine import Array, Engine


class Sampler:
    """Sample chunks by DDIM.

    Args:
        engine: A bundle's graph `sampler`: one denoising step.
        num_steps: How many steps; see `sampling_timesteps` for those there are.

    Raises:
        ValueError: There is no such number of steps.
    """

    def __init__(self, engine: Engine, num_steps: int) -> None:
        self._engine = engine
        self._steps: list[dict[str, Array]] = [
            {
                "timestep": np.array([step.timestep], np.int64),
                "coefficients": np.array(step.coefficients, np.float32),
            }
            for step in ddim_steps(num_steps)
        ]

    def sample(self, feeds: Mapping[str, Array]) -> Array:
        """Return normalised actions float32 [1, T, A].

        Args:
            feeds: `condition` as the bridge returned it, standard normal `noise` [1, T, A], and a `prefix` [1, T, A]
                to hold to with its `prefix_weights` [1, T]; weights of zero hold to nothing.

        Raises:
            EngineError: The engine failed.
        """
        given = {name: feeds[name] for name in ("condition", "prefix", "prefix_weights")} | {"chunk": feeds["noise"]}
        return self._engine.iterate(given, self._steps, {"next_chunk": "chunk"})["next_chunk"]
