"""How one chunk follows another: what is held to, from where on, and how firmly.

While the robot executes chunk k, chunk k+1 is made from a newer frame. When it arrives, some actions of chunk k have
been executed that chunk k+1 did not know of. Real-time chunking (Black, Galliker, Levine, "Real-time execution of
action chunking flow policies", 2025) gives them to the sampler: the actions that will have been executed by then are
held fixed, those after them more and more softly. The sampler's prefix input does it for DDIM.
"""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

Actions = npt.NDArray[np.float32]


class ChunkingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How chunks follow one another.

    Attributes:
        mode: ``real_time``; ``ensemble``, the adaptive average of the reference's clients; or ``replace``, where a new
            chunk knows nothing of the older one.
        delay_margin: Share by which real-time chunking plans for more delay than it has measured.
        ensemble_window: Chunks that an ensemble averages.
        ensemble_sharpness: How much more a chunk counts that agrees with the newest; 0: all alike.
    """

    mode: Literal["real_time", "ensemble", "replace"] = "real_time"
    delay_margin: float = 0.1
    ensemble_window: int = 7
    ensemble_sharpness: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.delay_margin < 0 or self.ensemble_window < 1 or not math.isfinite(self.ensemble_sharpness):
            msg = (
                f"delay_margin {self.delay_margin} must be 0 or more, ensemble_window {self.ensemble_window} must be 1 "
                f"or more, ensemble_sharpness {self.ensemble_sharpness} a number"
            )
            raise ValueError(msg)


class SentChunk(msgspec.Struct, frozen=True):
    """A chunk that was handed out: its first action's time on the client's clock, and normalised actions [T, A]."""

    start_ns: int
    actions: Actions


class Splice(msgspec.Struct, frozen=True):
    """How the next chunk joins what was handed out before.

    Attributes:
        start_ns: When its action 0 is due, on the client's clock.
        frozen_steps: How many of its leading actions are fixed.
        prefix: Normalised actions [T, A] to hold to, or None.
        weights: How firmly, [T] in [0, 1]; as many zeros at the end as actions are free.
    """

    start_ns: int
    frozen_steps: int = 0
    prefix: Actions | None = None
    weights: Actions | None = None


#: Holds to nothing.
FREE = Splice(0)


class Timeline:
    """The chunks of one client, on a grid of one action a period.

    Args:
        horizon: T.
        period_ns: Time between two actions.
        config: How chunks follow one another.
    """

    def __init__(self, horizon: int, period_ns: int, config: ChunkingConfig) -> None:
        self._horizon, self._period_ns, self._config = horizon, period_ns, config
        self._sent: deque[SentChunk] = deque(maxlen=config.ensemble_window if config.mode == "ensemble" else 1)

    def splice(self, capture_ns: int, delay_ns: int, *, soft: bool = True) -> Splice:
        """Return how a chunk joins that is made from a frame captured at `capture_ns` and takes `delay_ns` to arrive.

        A frame outside the last chunk's time, before or after it, begins a new grid.

        Args:
            capture_ns: On the client's clock.
            delay_ns: From capture to arrival.
            soft: Hold softly to the actions after the fixed ones too; False where they served another end.
        """
        offset = self._offset(capture_ns)
        if offset is None:
            return Splice(capture_ns)
        last = self._sent[-1]
        start_ns = last.start_ns + offset * self._period_ns
        if self._config.mode != "real_time":
            return Splice(start_ns)
        left = self._horizon - offset
        # The action that is under way when the chunk arrives is executed to its end.
        underway = math.floor((capture_ns + delay_ns - start_ns) / self._period_ns)
        frozen = min(max(underway + 1, 0), left)
        prefix = np.zeros_like(last.actions)
        prefix[:left] = last.actions[offset:]
        return Splice(start_ns, frozen, prefix, prefix_weights(self._horizon, frozen, left if soft else frozen))

    def add(self, splice: Splice, actions: Actions) -> Actions:
        """Remember a chunk [T, A] as it was sampled and return it as it goes out, both normalised."""
        if self._sent:
            since_ns = splice.start_ns - self._sent[-1].start_ns
            if since_ns < 0 or since_ns % self._period_ns:
                self.clear()
        self._sent.append(SentChunk(splice.start_ns, actions))
        if self._config.mode != "ensemble":
            return actions
        return np.stack([self._ensembled(splice.start_ns + step * self._period_ns) for step in range(self._horizon)])

    def clear(self) -> None:
        """Forget what was handed out: the next chunk begins afresh."""
        self._sent.clear()

    def _offset(self, capture_ns: int) -> int | None:
        """Return the index of the last chunk's action that is nearest to a time, or None when there is none."""
        if not self._sent:
            return None
        offset = round((capture_ns - self._sent[-1].start_ns) / self._period_ns)
        return offset if 0 <= offset < self._horizon else None

    def _ensembled(self, due_ns: int) -> Actions:
        """Return the average of what all chunks, the newest last, say of one time."""
        steps = [(due_ns - chunk.start_ns) // self._period_ns for chunk in self._sent]
        predictions = [
            chunk.actions[step] for chunk, step in zip(self._sent, steps, strict=True) if 0 <= step < self._horizon
        ]
        return ensemble(np.stack(predictions), self._config.ensemble_sharpness)


@lru_cache(maxsize=1024)
def prefix_weights(horizon: int, frozen: int, left: int) -> Actions:
    """Return how firmly each action is held to the older chunk, float32 [T].

    Args:
        horizon: T.
        frozen: Leading actions that are held fixed.
        left: Leading actions that the older chunk has; those after it are free.

    Returns:
        Read-only: equation 5 of the paper, 1 up to `frozen`, then c (e^c - 1) / (e - 1), where c falls linearly to 0
        at `left`.
    """
    steps = np.arange(horizon)
    falling = np.clip((left - steps) / (left - frozen + 1), 0.0, 1.0)
    weights = falling * np.expm1(falling) / (math.e - 1.0)
    weights[:frozen] = 1.0
    firm: Actions = weights.astype(np.float32)
    firm.flags.writeable = False
    return firm


def ensemble(predictions: Actions, sharpness: float) -> Actions:
    """Return the adaptive average of predictions [K, A] of one action, the newest last.

    Each counts with exp(sharpness * cosine with the newest) (CogACT's adaptive ensemble, which the reference's clients
    use).
    """
    newest = predictions[-1]
    norms = np.linalg.norm(predictions, axis=1) * np.linalg.norm(newest) + 1e-7
    weights = np.exp(sharpness * (predictions @ newest) / norms)
    averaged: Actions = (weights[:, None] * predictions).sum(0) / weights.sum()
    return averaged.astype(np.float32)
