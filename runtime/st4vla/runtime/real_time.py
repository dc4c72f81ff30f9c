"""Give a thread that must not be late what the operating system has for it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Below what the kernel's own threads have on a real-time kernel.
PRIORITY = 80
#: Of what feeds such a thread, cameras and sockets: above all that is not real-time, and never above it.
FEEDING_PRIORITY = 40
MCL_CURRENT, MCL_FUTURE = 1, 2


def become_real_time(cpu: int | None = None) -> list[str]:
    """Give the calling thread real-time priority and keep its process in memory; return what was refused, in words.

    Args:
        cpu: The core to stay on.
    """
    refused = []
    # First of all: it takes half a second, in which a thread with priority would keep its core from all others.
    if ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT | MCL_FUTURE):
        refused.append("memory may be paged out: allow it with 'memlock unlimited' in /etc/security/limits.d")
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        # Threads that this one begins are not in such a hurry.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except PermissionError:
        refused.append(
            f"no real-time priority: allow it with 'rtprio {PRIORITY}' in /etc/security/limits.d, or run as root"
        )
    return refused


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Take back what is done to the calling thread's priority meanwhile.

    libfranka gives whichever thread connects the highest real-time priority there is. Threads that it begins after
    that, which read cameras and wait for servers, would have it too, and come before the control loop.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


@contextmanager
def before_others() -> Iterator[None]:
    """Let the calling thread, and those that it begins meanwhile, come before all that is not real-time.

    Where the system does not allow it, nothing is changed; `become_real_time` says so.
    """
    with kept_scheduling():
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FEEDING_PRIORITY))
        yield
