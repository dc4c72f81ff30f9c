"""Locks between processes. The kernel lets go of them when their process ends, however it does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from st4vla.contracts.errors import DeviceBusyError, StorageError

POLL_S = 0.02


@contextlib.contextmanager
def locked(path: Path, what: str, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a lock while the block runs.

    Args:
        path: The lock's file, which is made and never removed.
        what: What another process does that holds it, for the message.
        wait_s: How long to wait for it.

    Raises:
        DeviceBusyError: Another process, or another thread of this one, holds it.
        StorageError: The file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        msg = f"{path} cannot be opened: {error.strerror}; `st4vla device init` makes a device's folder"
        raise StorageError(msg) from error
    try:
        deadline = time.monotonic() + wait_s
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                msg = f"another process {what} ({path} is locked); try again when it has ended"
                raise DeviceBusyError(msg)
            time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
