"""What all files with keys have in common: their names, who may read them, how they are written."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from st4vla.contracts.errors import KeyFileError, StorageError, UsageError
from st4vla.contracts.files import write_atomically

SECRET_MODE = 0o600
PUBLIC_MODE = 0o644
#: No file with a key is longer; a path may lead to anything.
_MAX_BYTES = 1 << 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def require_name(name: str) -> None:
    """Refuse a name of a key that cannot be a file's.

    Raises:
        UsageError: It has other characters than letters, digits, dots, dashes and underscores, or over 64 of them.
    """
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot name a key; use 1 to 64 letters, digits, '.', '-' and '_', a letter or digit first"
        raise UsageError(msg)


def require_closed(path: Path, mode: int) -> None:
    """Refuse a file with a secret key that others than its owner can get at.

    Raises:
        KeyFileError: Its mode lets them.
    """
    if mode & 0o077:
        msg = (
            f"{path} has mode {mode:03o}, so that others than its owner can get at the secret key in it; close it with "
            f"`chmod 600 {path}`, and if others use this machine, make a new key"
        )
        raise KeyFileError(msg)


def read_key_file(path: Path, make: str) -> tuple[bytes, int]:
    """Return bytes and permission bits of one and the same file, whatever is put in its place meanwhile.

    Args:
        path: The file.
        make: The command that makes such a file, for the message.

    Raises:
        KeyFileError: Missing, no file, or not to be read.
    """
    try:
        # A named pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                msg = f"{path} is not a file; name a key file, or make one with `{make}`"
                raise KeyFileError(msg)
            return os.read(descriptor, _MAX_BYTES), stat.S_IMODE(status.st_mode)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        msg = f"{path} is not there; make a key with `{make}`"
        raise KeyFileError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise KeyFileError(msg) from None


def write_key_file(path: Path, data: bytes, mode: int) -> None:
    """Write a file with a key, and the folder that it lies in.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomically(path, data, mode)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise StorageError(msg) from error


def require_free(paths: tuple[Path, ...], *, force: bool) -> None:
    """Refuse to overwrite files with keys that are there, unless `force` is given.

    Raises:
        UsageError: One of them is there.
    """
    for path in paths:
        if path.exists() and not force:
            msg = f"{path} is there already; choose another name, or overwrite it with --force"
            raise UsageError(msg)
