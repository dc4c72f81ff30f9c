"""CURVE keys and their files, in ZeroMQ's own certificate format.

A pair of keys is two files: ``NAME.key``, which is public, and ``NAME.key_secret``, which holds both halves, stays on
its machine and may be read by its owner only. The format is ZPL (rfc.zeromq.org/spec/4) as `zmq.auth` and CZMQ write
it, so that other programs read our files and we theirs. No message of this module holds a character of a secret key.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from st4vla.contracts.errors import KeyFileError, StorageError, UsageError
from st4vla.contracts.files import write_atomically

PUBLIC_SUFFIX = ".key"
SECRET_SUFFIX = ".key_secret"  # noqa: S105
SECRET_MODE = 0o600
PUBLIC_MODE = 0o644
#: Bytes of a key, and characters of it in Z85 (rfc.zeromq.org/spec/32).
KEY_BYTES, KEY_CHARACTERS = 32, 40
#: No certificate is longer; a path may lead to anything.
_MAX_BYTES = 1 << 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_OWNERS_BANNER = """\
# SECRET half of a ZeroMQ CURVE key. It stays on this machine, readable by its owner only (mode 600).
"""
_PUBLIC_BANNER = """\
# Public half of a ZeroMQ CURVE key. It may be shown to anybody; compare fingerprints when it was sent to you.
"""


@dataclass(frozen=True)
class KeyPair:
    """A public key and the secret key it belongs to, each in Z85."""

    public: str
    secret: str = field(repr=False)


def make_pair() -> KeyPair:
    """Return a new pair of keys.

    Raises:
        KeyFileError: This build of ZeroMQ has no CURVE.
    """
    if not zmq.has("curve"):
        msg = "this build of ZeroMQ has no CURVE; install pyzmq from PyPI, whose wheels have it: pip install pyzmq"
        raise KeyFileError(msg)
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def fingerprint(public: str) -> str:
    """Return what people compare of a public key in Z85: the SHA-256 of its 32 bytes, written as `ssh-keygen` does."""
    digest = hashlib.sha256(z85.decode(public.encode())).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def require_name(name: str) -> None:
    """Refuse a name of a key that cannot be a file's.

    Raises:
        UsageError: It has other characters than letters, digits, dots, dashes and underscores, or over 64 of them.
    """
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot name a key; use 1 to 64 letters, digits, '.', '-' and '_', a letter or digit first"
        raise UsageError(msg)


def write_pair(folder: Path, name: str, pair: KeyPair, *, force: bool = False) -> tuple[Path, Path]:
    """Write both files of a pair into a folder, which is made when it is not there; return public and secret path.

    Raises:
        UsageError: One of them is there already, and `force` is not given.
        StorageError: They cannot be written.
    """
    require_name(name)
    public, secret = folder / f"{name}{PUBLIC_SUFFIX}", folder / f"{name}{SECRET_SUFFIX}"
    for path in (secret, public):
        if path.exists() and not force:
            msg = f"{path} is there already; choose another name, or overwrite it with --force"
            raise UsageError(msg)
    body = f'metadata\n    name = "{name}"\ncurve\n    public-key = "{pair.public}"\n'
    _write(secret, f'{_OWNERS_BANNER}{body}    secret-key = "{pair.secret}"\n', SECRET_MODE)
    _write(public, f"{_PUBLIC_BANNER}{body}", PUBLIC_MODE)
    return public, secret


def write_public(path: Path, name: str, public: str) -> None:
    """Write the public half alone, over what is there.

    Raises:
        StorageError: It cannot be written.
    """
    body = f'metadata\n    name = "{name}"\ncurve\n    public-key = "{public}"\n'
    _write(path, f"{_PUBLIC_BANNER}{body}", PUBLIC_MODE)


def read_pair(path: Path) -> KeyPair:
    """Read a file with a secret key.

    Raises:
        KeyFileError: Missing, malformed, without a secret key, readable by others, or of halves that do not fit.
    """
    text, mode = _read(path)
    if mode & 0o077:
        msg = (
            f"{path} has mode {mode:03o}, so that others than its owner can get at the secret key in it; close it with "
            f"`chmod 600 {path}`, and if others use this machine, make a new key"
        )
        raise KeyFileError(msg)
    return _pair(path, text)


def read_public(path: Path) -> str:
    """Read the public key of a file that holds no secret key.

    Raises:
        KeyFileError: Missing, malformed, or with a secret key in it.
    """
    text, _ = _read(path)
    fields = _fields(path, text)
    if "secret-key" in fields:
        msg = (
            f"{path} holds a secret key; use the public file that was made with it, and keep this one where it was made"
        )
        raise KeyFileError(msg)
    return _key(path, fields, "public-key")


def inspect(path: Path) -> tuple[str, int | None]:
    """Return the public key of a file of either kind, and the mode of one that holds a secret key, else None.

    Raises:
        KeyFileError: Missing or malformed, or of halves that do not fit.
    """
    text, mode = _read(path)
    if "secret-key" in _fields(path, text):
        return _pair(path, text).public, mode
    return read_public(path), None


def _pair(path: Path, text: str) -> KeyPair:
    fields = _fields(path, text)
    if "secret-key" not in fields:
        msg = f"{path} holds a public key only; name the file that ends in {SECRET_SUFFIX}"
        raise KeyFileError(msg)
    pair = KeyPair(_key(path, fields, "public-key"), _key(path, fields, "secret-key"))
    if zmq.curve_public(pair.secret.encode()).decode() != pair.public:
        msg = f"{path}: its public key is not that of its secret key; make a new pair with `st4vla keys make`"
        raise KeyFileError(msg)
    return pair


def _write(path: Path, text: str, mode: int) -> None:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomically(path, text.encode(), mode)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise StorageError(msg) from error


def _read(path: Path) -> tuple[str, int]:
    """Return text and permission bits of one and the same file, whatever is put in its place meanwhile."""
    try:
        # A named pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                msg = f"{path} is not a file; name a key file, or make one with `st4vla keys make`"
                raise KeyFileError(msg)
            return os.read(descriptor, _MAX_BYTES).decode(), stat.S_IMODE(status.st_mode)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        msg = f"{path} is not there; make a key with `st4vla keys make NAME --out FOLDER`"
        raise KeyFileError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise KeyFileError(msg) from None
    except UnicodeDecodeError:
        raise KeyFileError(_malformed(path, "it is not text")) from None


def _fields(path: Path, text: str) -> dict[str, str]:
    """Return the properties of a certificate's section ``curve``."""
    section, fields = "", {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        name, equals, value = bare.partition("=")
        if not equals:
            section = bare
        elif section == "curve":
            # Neither kind of quote is a character of Z85.
            if name.strip() in fields:
                raise KeyFileError(_malformed(path, f"line {number} says {name.strip()} again"))
            fields[name.strip()] = value.strip().strip("\"'")
    return fields


def _key(path: Path, fields: dict[str, str], name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise KeyFileError(_malformed(path, f"it has no {name} in a section `curve`"))
    try:
        if len(value) != KEY_CHARACTERS or len(z85.decode(value.encode("ascii"))) != KEY_BYTES:
            raise ValueError
    except (ValueError, KeyError, struct.error):
        raise KeyFileError(_malformed(path, f"its {name} is not {KEY_CHARACTERS} characters of Z85")) from None
    return value


def _malformed(path: Path, why: str) -> str:
    return f"{path} is not a ZeroMQ CURVE certificate: {why}; copy it again, or make one with `st4vla keys make`"
