"""Has the scene changed since a plan was made?

The bridge's graph gives, beside the condition, its visual tokens averaged over a few cells a view. Cells are compared
with those of the frame that the plan was made on. What is ordinary is learnt for each cell by itself, from plans that
ended because their period was over: a camera on the wrist sees everything move, one beside the table hardly anything. A
moved object changes some cells far more than is ordinary for them.
"""

from __future__ import annotations

from collections import deque

import msgspec
import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.float32]
Drifts = npt.NDArray[np.float32]

#: A moved object leaves one cell and enters another.
CELLS_THAT_COUNT = 2
#: Ordinary drifts that are remembered, how many are enough to judge by, and how much of them counts as ordinary.
MEMORY, ENOUGH, QUANTILE = 32, 4, 0.9
#: A cell where nothing ever moves has this share of the middle cell's ordinary drift: noise is no change.
FLOOR = 0.1
TINY = 1e-5


class ChangeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a scene counts as changed.

    Attributes:
        enabled: Whether to look at all.
        ordinary: Drift that is ordinary for every cell; None to learn it for each.
        factor: How many times the ordinary drift counts as a change.
        release: Share of `factor` below which the drift must fall before it can count again.
        frames: Consecutive frames that must agree.
    """

    enabled: bool = True
    ordinary: float | None = None
    factor: float = 3.0
    release: float = 0.5
    frames: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if (self.ordinary is not None and self.ordinary <= 0) or self.factor <= 1 or not 0 < self.release <= 1:
            msg = f"ordinary {self.ordinary} must be positive, factor {self.factor} above 1, release in (0, 1]"
            raise ValueError(msg)
        if self.frames < 1:
            msg = f"frames {self.frames} must be 1 or more"
            raise ValueError(msg)


class ChangeDetector:
    """Watch how one client's scene drifts from its plan's.

    Args:
        config: When it counts as changed.
    """

    def __init__(self, config: ChangeConfig) -> None:
        self._config = config
        self._recent: deque[tuple[int, Cells]] = deque(maxlen=64)
        self._reference: Cells | None = None
        self._history: deque[Drifts] = deque(maxlen=MEMORY)
        self._ordinary: Drifts | None = None
        self._largest: Drifts | None = None
        self._above = 0
        self._armed = True

    def look(self, capture_ns: int, cells: Cells) -> bool:
        """Take in a frame's cells [C, D]; return True when the scene has just counted as changed."""
        self._recent.append((capture_ns, cells))
        if self._reference is None:
            return False
        drifts = cell_drifts(self._reference, cells)
        self._largest = drifts if self._largest is None else np.maximum(self._largest, drifts)
        times = self._times_ordinary(drifts)
        if times is None or not self._config.enabled:
            return False
        self._above = self._above + 1 if times > self._config.factor else 0
        if times < self._config.factor * self._config.release:
            self._armed = True
        if not self._armed or self._above < self._config.frames:
            return False
        self._armed = False
        return True

    def plan_made(self, capture_ns: int, *, ordinary: bool) -> None:
        """Compare from now on with a plan's frame, or the nearest frame that was looked at.

        Args:
            capture_ns: When the plan's frame was captured.
            ordinary: The plan was made for no other reason than its period.
        """
        if self._largest is not None and (ordinary or self._ordinary is not None):
            drifts = self._largest
            if not ordinary and self._ordinary is not None:
                # A scene that changes all the time must not keep System 2 busy all the time.
                drifts = np.maximum(drifts / self._config.factor, self._ordinary)
            self._history.append(drifts)
            self._ordinary = _ordinary_drifts(self._history)
        nearest = min(self._recent, key=lambda entry: abs(entry[0] - capture_ns), default=None)
        self._reference = None if nearest is None else nearest[1]
        self._largest, self._above = None, 0

    def _times_ordinary(self, drifts: Drifts) -> float | None:
        """Return how many times the ordinary drift the cells that drifted most have, or None while that is learnt."""
        if self._config.ordinary is not None:
            times = drifts / self._config.ordinary
        elif self._ordinary is not None:
            times = drifts / self._ordinary
        else:
            return None
        count = min(CELLS_THAT_COUNT, len(times))
        return float(np.partition(times, len(times) - count)[-count:].mean())


def cell_drifts(reference: Cells, cells: Cells) -> Drifts:
    """Return how far each of the cells [C, D] has turned from a reference's: 1 - cosine, [C]."""
    norms = np.linalg.norm(reference, axis=1) * np.linalg.norm(cells, axis=1) + 1e-12
    drifts: Drifts = 1.0 - (reference * cells).sum(1) / norms
    return drifts


def _ordinary_drifts(history: deque[Drifts]) -> Drifts | None:
    if len(history) < ENOUGH:
        return None
    usual = np.quantile(np.stack(history), QUANTILE, axis=0)
    ordinary: Drifts = (usual + FLOOR * np.median(usual) + TINY).astype(np.float32)
    return ordinary
