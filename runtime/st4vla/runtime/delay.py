"""How long it takes from a frame's capture until its chunk is in the robot's hands."""

from __future__ import annotations

from collections import deque

#: Samples that are remembered: a second or so of a fast policy.
WINDOW = 20
#: Share of the samples that the estimate covers. Rounded down to a sample, so that the longest of several never counts:
#: one slow chunk (a cold start, a page fault) changes nothing.
QUANTILE = 0.9


class DelayEstimator:
    """Estimate the delay of the next chunk from those of the last ones.

    Args:
        initial_ns: What to believe before the first sample.
        margin: Added to the estimate, as a share of it.
    """

    def __init__(self, initial_ns: int, margin: float = 0.1) -> None:
        self._initial_ns = initial_ns
        self._margin = margin
        self._samples: deque[int] = deque(maxlen=WINDOW)

    def add(self, delay_ns: int) -> None:
        """Add a measured delay; one that is not positive is no delay and is ignored."""
        if delay_ns > 0:
            self._samples.append(delay_ns)

    @property
    def estimate_ns(self) -> int:
        """The delay to plan for, with its margin."""
        ordered = sorted(self._samples)
        measured = ordered[int(QUANTILE * (len(ordered) - 1))] if ordered else self._initial_ns
        return round(measured * (1.0 + self._margin))
