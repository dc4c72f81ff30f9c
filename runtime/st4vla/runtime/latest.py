"""A hand-over that cannot grow: a new value replaces the one that nobody has taken."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """Room for one value between threads.

    `put` never blocks. `superseded` counts the values that a newer one replaced before anybody took them.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._value: T | None = None
        self._closed = False
        self.superseded = 0

    def put(self, value: T) -> None:
        """Leave a value, replacing one that was not taken."""
        with self._condition:
            if self._value is not None:
                self.superseded += 1
            self._value = value
            self._condition.notify()

    def take(self, timeout_s: float | None = 0.0) -> T | None:
        """Take the value, waiting up to `timeout_s` (None: for ever); None when there is none or the slot is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._value is not None or self._closed, timeout_s)
            value, self._value = self._value, None
            return value

    def close(self) -> None:
        """Wake whoever waits, now and later."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
