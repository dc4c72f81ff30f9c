"""When a link that was cut is opened again, and when no more."""

from __future__ import annotations

from st4vla.export.flashing.patience import Patience


class Retries:
    """Counts the links in a row that led no further.

    Args:
        patience: How many there may be.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failures = 0
        self._furthest: tuple[int, int] = (-1, 0)

    def reached(self, stage: int, amount: int = 0) -> None:
        """Note how far the flash is: a number for the stage, and a number that grows within it."""
        if (stage, amount) > self._furthest:
            self._furthest = (stage, amount)
            self._failures = 0

    def pause_s(self, talked_s: float) -> float | None:
        """Return how long to wait before the next link, or None when it is enough.

        Args:
            talked_s: From the beginning of the link that was lost to the last word of the device on it.
        """
        if talked_s >= self._patience.steady_s:
            self._failures = 0
        if self._failures >= self._patience.retries:
            return None
        self._failures += 1
        return min(self._patience.first_pause_s * 2.0 ** (self._failures - 1), self._patience.longest_pause_s)
