"""A server that outlived its supervisor, which the kernel should have prevented: known by a small file, and ended."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from pathlib import Path

LOG = logging.getLogger(__name__)
FILE = "servers"
#: How long a killed process may take to leave its port; one in a driver's call may need that.
GONE_S = 10.0


def note_servers(root: Path, pids: list[int]) -> None:
    """Write down which processes serve, with their start times, so that a later process of that number is not taken."""
    lines = [f"{pid} {start}" for pid in pids if (start := _start_time(pid)) is not None]
    # It need not survive a power cut: neither do the processes. On a full disk the kernel alone sees to them.
    try:
        (root / FILE).write_text("".join(f"{line}\n" for line in lines))
    except OSError as error:
        LOG.warning("%s cannot be written: %s", root / FILE, error.strerror)


def end_leftovers(root: Path) -> list[int]:
    """Kill the servers that a supervisor before this one left behind, and return their processes."""
    try:
        lines = (root / FILE).read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            pid, start = (int(part) for part in line.split())
            if _start_time(pid) == start:
                found.append(pid)
    for pid in found:
        LOG.warning("the server %d of an earlier supervisor is still there; it is ended", pid)
        # It leads a group of its own, with whatever it started.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    until = time.monotonic() + GONE_S
    while any(_start_time(pid) is not None for pid in found) and time.monotonic() < until:
        time.sleep(0.01)
    return found


def _start_time(pid: int) -> int | None:
    """Return when a process was started, in the kernel's ticks; None when it is gone, or dead and not yet reaped."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The name before it may hold anything, up to the last parenthesis.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    return None
