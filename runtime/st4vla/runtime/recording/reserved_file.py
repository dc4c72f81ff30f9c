"""A file that can still be ended well when the disk is full."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)

Write = Callable[[int, memoryview], int]


class ReservedFile:
    """An append-only file with disk space set aside, which is let go when there is no other left.

    The space belongs to a nameless file beside it, so that nothing stays behind when the process is killed. The first
    write that finds the disk full goes on into that space; then `full` says so, and what is left is for the file's end.

    Args:
        path: The file; it must not exist.
        write: Writes to a descriptor as `os.write` does.

    Raises:
        OSError: It cannot be made.

    Attributes:
        full: What the disk said when it was full, or None.
    """

    def __init__(self, path: Path, write: Write = os.write) -> None:
        self.full: OSError | None = None
        self._write = write
        self._offset = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            # Kept beyond a block: it is space, not a file.
            self._reserve = tempfile.TemporaryFile(dir=path.parent, buffering=0)  # noqa: SIM115
        except OSError:
            os.close(self._descriptor)
            raise
        self._reserved = 0

    def reserve(self, size: int) -> None:
        """Set at least so many bytes aside, or find the disk full."""
        if size <= self._reserved or self.full is not None:
            return
        try:
            os.posix_fallocate(self._reserve.fileno(), 0, size)
            self._reserved = size
        except OSError as error:
            self._let_go(error)

    def write(self, data: bytes | memoryview) -> int:
        """Append bytes.

        Raises:
            OSError: They cannot be written, not even into the space set aside.
        """
        left = memoryview(data)
        while left:
            try:
                written = self._write(self._descriptor, left)
            except OSError as error:
                self._let_go(error)
                continue
            left = left[written:]
            self._offset += written
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._offset

    def flush(self) -> None:
        """Do nothing: every byte is with the system already."""

    def close(self) -> None:
        """Close the file and free what was set aside."""
        self._reserve.close()
        os.close(self._descriptor)

    def _let_go(self, error: OSError) -> None:
        if self.full is not None or error.errno not in FULL:
            raise error
        self.full = error
        self._reserve.close()
