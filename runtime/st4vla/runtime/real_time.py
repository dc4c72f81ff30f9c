"""Give threads that must not be late what the operating system has for them."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from st4vla.contracts.errors import UsageError

#: Below what the kernel's own threads have on a real-time kernel.
PRIORITY = 80
#: Of what feeds such a thread, cameras and sockets: above all that is not real-time, and never above it.
FEEDING_PRIORITY = 40
MCL_CURRENT, MCL_FUTURE = 1, 2


class _Parameters(ctypes.Structure):
    """`struct sched_param`."""

    _fields_ = (("sched_priority", ctypes.c_int),)


def require_core(cpu: int | None) -> None:
    """Let ``--cpu`` pass if this process may run there, or none was asked for.

    Raises:
        UsageError: It may not.
    """
    cores = os.sched_getaffinity(0)
    if cpu is not None and cpu not in cores:
        msg = f"--cpu {cpu}: this process may run on {sorted(cores)}"
        raise UsageError(msg)


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
    # Threads that this one begins are not in such a hurry.
    if not _schedule(os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, PRIORITY):
        refused.append(
            f"no real-time priority: allow it with 'rtprio {PRIORITY}' in /etc/security/limits.d, or run as root"
        )
    return refused


def come_before_others() -> None:
    """Let the calling thread, and those that it begins, come before all that is not real-time.

    Where the system does not allow it, nothing is changed; `become_real_time` says so.
    """
    _schedule(os.SCHED_FIFO, FEEDING_PRIORITY)


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Take back what is done to the calling thread's priority meanwhile.

    libfranka gives whichever thread connects the highest real-time priority there is. Threads that it begins after
    that, which read cameras and wait for servers, would have it too, and come before the control loop.
    """
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    try:
        yield
    finally:
        _schedule(policy, priority)


def _schedule(policy: int, priority: int) -> bool:
    """Schedule the calling thread so; return whether it was allowed.

    By pthread_setschedparam: the C library remembers what that was told, and hands it on to new threads, some of which
    ask it and set it (libzmq's do). What the kernel alone is told, as by `os.sched_setscheduler`, does not reach them.
    """
    thread = ctypes.c_ulong(threading.get_ident())
    return not ctypes.CDLL(None).pthread_setschedparam(thread, policy, ctypes.byref(_Parameters(priority)))
