"""An object on its way: the bytes that are there, their hash, and the file that grows."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
from pathlib import Path

from st4vla.contracts.errors import StorageError
from st4vla.runtime.flashing.durable import make_folder, sync_folder

FULL = (errno.ENOSPC, errno.EDQUOT)
FINISHED_MODE = 0o444
_READ_BYTES = 1 << 20
#: How many bytes are handed to the disk at a time while more arrive, so that the last `fsync` has little left to do.
_FLUSH_BYTES = 8 << 20
#: fallocate(2): space is set aside, and the file does not grow by it.
_FALLOC_FL_KEEP_SIZE = 1
#: sync_file_range(2): begin to write, and do not wait.
_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None, use_errno=True)


class ArrivingObject:
    """A file that grows to a known size, hashed on the way.

    Another process may append to the same file between two calls, under the store's lock; what it brought is then read
    and hashed here too.

    Args:
        path: The file; it is made when it is not there.
        sha256: What it claims to be.
        size: How long it will be.

    Raises:
        OSError: It cannot be opened, or the disk has no room for it.
    """

    def __init__(self, path: Path, sha256: str, size: int) -> None:
        self.path, self.sha256, self.size = path, sha256, size
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._hash = hashlib.sha256()
        self._hashed = self._flushed = 0
        try:
            # Where the file system cannot do this, the disk is found full later.
            _fallocate(self._descriptor, size)
        except OSError:
            self.close()
            raise

    @property
    def ended(self) -> bool:
        """Whether another process has finished the object, or thrown it away."""
        found = os.fstat(self._descriptor)
        return found.st_nlink == 0 or found.st_mode & 0o777 == FINISHED_MODE

    def length(self) -> int:
        """Return how many bytes are there, all of them hashed."""
        length = os.fstat(self._descriptor).st_size
        while self._hashed < length:
            block = os.pread(self._descriptor, min(_READ_BYTES, length - self._hashed), self._hashed)
            self._hash.update(block)
            self._hashed += len(block)
        return length

    def append(self, data: memoryview) -> None:
        """Write bytes after those that are there.

        Raises:
            OSError: They do not all fit; those that did are kept.
        """
        left = data
        while left:
            written = os.pwrite(self._descriptor, left, self._hashed)
            self._hash.update(left[:written])
            self._hashed += written
            left = left[written:]
        if self._hashed - self._flushed >= _FLUSH_BYTES:
            _begin_writing(self._descriptor, self._flushed, self._hashed - self._flushed)
            self._flushed = self._hashed

    def hexdigest(self) -> str:
        """Return the hash of the bytes that are there."""
        return self._hash.hexdigest()

    def finish(self, target: Path) -> None:
        """Put the file in its place when all its bytes are on disk; nobody writes to it again."""
        os.fsync(self._descriptor)
        make_folder(target.parent)
        self.path.replace(target)
        os.fchmod(self._descriptor, FINISHED_MODE)
        sync_folder(target.parent)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def disk_error(error: OSError, path: Path, doing: str) -> StorageError:
    """Return what to say of a disk that is full, or does not take a file for another reason."""
    if error.errno in FULL:
        disk = os.statvfs(path.parent)
        return StorageError(
            f"the disk of {path.parent} is full ({disk.f_bavail * disk.f_frsize} bytes are free) while {doing}; "
            "nothing is lost: free some space there, and flash again"
        )
    return StorageError(f"{path} cannot be written while {doing}: {error.strerror}; nothing is lost")


def _fallocate(descriptor: int, size: int) -> None:
    if size and _libc.fallocate(descriptor, _FALLOC_FL_KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size)):
        number = ctypes.get_errno()
        if number in FULL:
            raise OSError(number, os.strerror(number))


def _begin_writing(descriptor: int, offset: int, size: int) -> None:
    _libc.sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE)
