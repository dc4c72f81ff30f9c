"""What a process does to itself so that others do not feel it: it comes last, and its memory is bounded."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
from contextlib import suppress
from pathlib import Path

LOWEST = 19
_PR_SET_PDEATHSIG = 1
#: The highest value of proc(5)'s oom_score_adj; a supervisor's own may be far below 0, and is inherited.
_OOM_SCORE_ADJ_MAX = 1000
#: ioprio_set(2), for which glibc has no function: the number of the call, by instruction set.
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS, _IOPRIO_IDLE = 1, 3 << 13


def come_last(nice: int) -> None:
    """Take this niceness; with the lowest, take also nothing of CPU and disk but what others leave.

    A kernel that groups processes by session for its scheduler (sched(7), autogroup) weighs the groups, not the
    processes in them, so that this one's group, which the caller made with a new session, is given the niceness too.
    """
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    # A container may forbid each of these; the niceness stays.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))
    if nice < LOWEST:
        return
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if platform.machine() in _IOPRIO_SET:
        ctypes.CDLL(None).syscall(_IOPRIO_SET[platform.machine()], _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE)


def die_first() -> None:
    """Be what the kernel kills when the machine's memory is used up, and not the policy that serves."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE_ADJ_MAX))


def cap_memory(size: int) -> None:
    """Let this process have at most so many bytes that it alone can write to; files that it maps do not count."""
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def end_with(parent: int) -> None:
    """Have this process killed when the one that started it ends, however that does.

    Args:
        parent: Its process id; if that has ended already, this process ends now.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
