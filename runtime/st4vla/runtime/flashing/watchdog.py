"""systemd's watchdog, told by the thread that decides: a supervisor that hangs is started again."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from types import TracebackType

from typing_extensions import Self

from st4vla.runtime.printable import printable
from st4vla.runtime.systemd import STATUS_CHARACTERS, STATUS_S, notify, watchdog_s


class Watchdog:
    """Tell systemd that the supervisor is ready, lives, and stops; outside systemd do nothing.

    Args:
        environment: What systemd left there.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._socket = environment.get("NOTIFY_SOCKET", "")
        period_s = watchdog_s(environment)
        self._watched = period_s is not None
        self._interval_s = STATUS_S if period_s is None else min(period_s / 3, STATUS_S)
        self._due = 0.0

    def beat(self, status: str) -> None:
        """Say that all is well, and how, when it is time to."""
        if self._socket and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._interval_s
            self._notify("WATCHDOG=1" if self._watched else "", status)

    def _notify(self, word: str, status: str) -> None:
        notify(self._socket, f"{word}\nSTATUS={printable(status, STATUS_CHARACTERS)}".strip())

    def __enter__(self) -> Self:
        if self._socket:
            self._notify("READY=1", "supervising")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket:
            self._notify("STOPPING=1", "stopping")
