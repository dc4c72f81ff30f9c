"""Has the scene changed since a plan was made?

The bridge's graph gives, beside the condition, its visual tokens averaged over a few cells a view. Cells are compared
with those of the frame that the plan was made on; a moved object changes some of them far more than a period's ordinary
motion does. What is ordinary is learnt from plans that ended because their period was over.
"""

from __future__ import annotations

import statistics
from collections import deque

import msgspec
import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.float32]

#: A moved object leaves one cell and enters another, in each view.
CELLS_THAT_COUNT = 4
#: Ordinary drifts that are remembered, and how many make a threshold.
MEMORY, ENOUGH = 32, 4


class ChangeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a scene counts as changed.

    Attributes:
        enabled: Whether to look at all.
        threshold: Drift from which it does; None to learn it.
        factor: A learnt threshold is this many times the ordinary drift.
        release: Share of the threshold below which the drift must fall before it can count again.
        frames: Consecutive frames that must agree.
    """

    enabled: bool = True
    threshold: float | None = None
    factor: float = 2.0
    release: float = 0.5
    frames: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if (self.threshold is not None and self.threshold <= 0) or self.factor <= 1 or not 0 < self.release <= 1:
            msg = f"threshold {self.threshold} must be positive, factor {self.factor} above 1, release in (0, 1]"
            raise ValueError(msg)
        if self.frames < 1:
            msg = f"frames {self.frames} must be 1 or more"
            raise ValueError(msg)


class ChangeDetector:
    """Watch the drift of one client's scene from its plan's.

    Args:
        config: When it counts as changed.
    """

    def __init__(self, config: ChangeConfig) -> None:
        self._config = config
        self._recent: deque[tuple[int, Cells]] = deque(maxlen=64)
        self._reference: Cells | None = None
        self._ordinary: deque[float] = deque(maxlen=MEMORY)
        self._largest = 0.0
        self._above = 0
        self._armed = True

    @property
    def threshold(self) -> float | None:
        """Drift from which the scene counts as changed, or None while that is being learnt."""
        if self._config.threshold is not None:
            return self._config.threshold
        if len(self._ordinary) < ENOUGH:
            return None
        return self._config.factor * statistics.median(self._ordinary)

    def look(self, capture_ns: int, cells: Cells) -> bool:
        """Take in a frame's cells [C, D]; return True when the scene has just counted as changed."""
        self._recent.append((capture_ns, cells))
        if self._reference is None:
            return False
        drift = cell_drift(self._reference, cells)
        self._largest = max(self._largest, drift)
        threshold = self.threshold
        if threshold is None or not self._config.enabled:
            return False
        self._above = self._above + 1 if drift > threshold else 0
        if drift < threshold * self._config.release:
            self._armed = True
        if not self._armed or self._above < self._config.frames:
            return False
        self._armed = False
        return True

    def plan_made(self, capture_ns: int, *, ordinary: bool) -> None:
        """Compare from now on with a plan's frame, of the nearest frame that was looked at.

        Args:
            capture_ns: When the plan's frame was captured.
            ordinary: The plan before it ended for no other reason than its period.
        """
        if ordinary and self._reference is not None:
            self._ordinary.append(self._largest)
        elif not ordinary and self._ordinary:
            # A scene that changes all the time must not keep System 2 busy all the time.
            self._ordinary.append(max(self._largest / self._config.factor, statistics.median(self._ordinary)))
        nearest = min(self._recent, key=lambda entry: abs(entry[0] - capture_ns), default=None)
        self._reference = None if nearest is None else nearest[1]
        self._largest, self._above = 0.0, 0


def cell_drift(reference: Cells, cells: Cells) -> float:
    """Return how far cells [C, D] have turned from a reference's: 1 - cosine, the mean of the largest few."""
    norms = np.linalg.norm(reference, axis=1) * np.linalg.norm(cells, axis=1) + 1e-12
    turned = 1.0 - (reference * cells).sum(1) / norms
    count = min(CELLS_THAT_COUNT, len(turned))
    return float(np.partition(turned, len(turned) - count)[-count:].mean())
