"""Come after others while loading, and have the old priority back to serve with.

Linux lets a process lower its priority at any time; only some may raise it again (RLIMIT_NICE, or CAP_SYS_NICE), so
that is tried first.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

#: A tenth of what a process of the usual niceness gets, when both want all of a core.
BEHIND = 10
_TASKS = Path("/proc/self/task")
_AUTOGROUP = Path("/proc/self/autogroup")


class GivingWay:
    """Priority of this process, lowered from `begin` to `end`.

    Attributes:
        is_behind: Whether it is lowered.
    """

    def __init__(self) -> None:
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        self._group_nice = _group_nice()
        self.is_behind = False

    def begin(self) -> None:
        """Come after others, if the priority can be had back."""
        behind = max(self._nice, BEHIND)
        if not self.is_behind and _can_return(self._nice, behind):
            self.is_behind = True
            self._set(behind, BEHIND)

    def end(self) -> None:
        """Have the old priority back, in every thread that there is."""
        if self.is_behind:
            self.is_behind = False
            self._set(self._nice, self._group_nice)

    def _set(self, nice: int, group_nice: int | None) -> None:
        # A thread has the niceness of the one that started it. This one first, so that none is left out.
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        for task in _TASKS.iterdir():
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, int(task.name), nice)
        if group_nice is not None:
            # Kernels that group processes by session weigh the groups first (sched(7), autogroup).
            with suppress(OSError):
                _AUTOGROUP.write_text(str(group_nice))


def _can_return(nice: int, behind: int) -> bool:
    """Try in a thread of its own, which has a niceness of its own, whether the way back is open."""
    found: list[bool] = []

    def attempt() -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, behind)
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        except OSError:
            found.append(False)
        else:
            found.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return found[0]


def _group_nice() -> int | None:
    """Return the niceness of this process's session; None where the kernel knows no such thing."""
    try:
        # Such as "/autogroup-52 nice 0".
        return int(_AUTOGROUP.read_text().split()[-1])
    except (OSError, ValueError, IndexError):
        return None
