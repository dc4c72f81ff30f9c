"""When a link that was cut is opened again, and when no more."""

from __future__ import annotations

import time
from collections.abc import Callable

from st4vla.export.flashing.patience import Patience


class Retries:
    """Counts the links in a row that led no further.

    Args:
        patience: How many there may be.
        clock: Seconds that only grow.
    """

    def __init__(self, patience: Patience, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._failures = 0
        self._opened_s = clock()
        self._furthest: tuple[int, int] = (-1, 0)

    def opened(self) -> None:
        """Note that a link stands."""
        self._opened_s = self._clock()

    def reached(self, stage: int, amount: int = 0) -> None:
        """Note how far the flash is: a number for the stage, and a number that grows within it."""
        if (stage, amount) > self._furthest:
            self._furthest = (stage, amount)
            self._failures = 0

    def pause_s(self, *, stood: bool) -> float | None:
        """Return how long to wait before the next link, or None when it is enough.

        Args:
            stood: Whether the device had answered on the link that was lost.
        """
        if stood and self._clock() - self._opened_s >= self._patience.steady_s:
            self._failures = 0
        if self._failures >= self._patience.retries:
            return None
        self._failures += 1
        return min(self._patience.first_pause_s * 2.0 ** (self._failures - 1), self._patience.longest_pause_s)
