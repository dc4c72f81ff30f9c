"""Give a thread that must not be late what the operating system has for it."""

from __future__ import annotations

import ctypes
import os

#: Below what the kernel's own threads have on a real-time kernel.
PRIORITY = 80
MCL_CURRENT, MCL_FUTURE = 1, 2


def become_real_time(cpu: int | None = None) -> list[str]:
    """Give the calling thread real-time priority and keep its process in memory; return what was refused, in words.

    Args:
        cpu: The core to stay on.
    """
    refused = []
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        # Threads that this one begins are not in such a hurry.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except PermissionError:
        refused.append(
            f"no real-time priority: allow it with 'rtprio {PRIORITY}' in /etc/security/limits.d, or run as root"
        )
    if ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT | MCL_FUTURE):
        refused.append("memory may be paged out: allow it with 'memlock unlimited' in /etc/security/limits.d")
    return refused
