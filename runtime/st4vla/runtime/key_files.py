"""CURVE keys and their files, in ZeroMQ's own certificate format.

A pair of keys is two files: ``NAME.key``, which is public, and ``NAME.key_secret``, which holds both halves, stays on
its machine and may be read by its owner only. The format is ZPL (rfc.zeromq.org/spec/4) as `zmq.auth` and CZMQ write
it, so that other programs read our files and we theirs. No message of this module holds a character of a secret key.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from st4vla.contracts.errors import KeyFileError
from st4vla.runtime.key_storage import (
    PUBLIC_MODE,
    SECRET_MODE,
    read_key_file,
    require_closed,
    require_free,
    require_name,
    write_key_file,
)

PUBLIC_SUFFIX = ".key"
SECRET_SUFFIX = ".key_secret"  # noqa: S105
#: Bytes of a key, and characters of it in Z85 (rfc.zeromq.org/spec/32).
KEY_BYTES, KEY_CHARACTERS = 32, 40
_MAKE = "st4vla keys make NAME --out FOLDER"

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


def write_pair(folder: Path, name: str, pair: KeyPair, *, force: bool = False) -> tuple[Path, Path]:
    """Write both files of a pair into a folder, which is made when it is not there; return public and secret path.

    Raises:
        UsageError: One of them is there already, and `force` is not given.
        StorageError: They cannot be written.
    """
    require_name(name)
    public, secret = folder / f"{name}{PUBLIC_SUFFIX}", folder / f"{name}{SECRET_SUFFIX}"
    require_free((secret, public), force=force)
    body = f'metadata\n    name = "{name}"\ncurve\n    public-key = "{pair.public}"\n'
    secret_text = f'{_OWNERS_BANNER}{body}    secret-key = "{pair.secret}"\n'
    write_key_file(secret, secret_text.encode(), SECRET_MODE)
    write_key_file(public, f"{_PUBLIC_BANNER}{body}".encode(), PUBLIC_MODE)
    return public, secret


def write_public(path: Path, name: str, public: str) -> None:
    """Write the public half alone, over what is there.

    Raises:
        StorageError: It cannot be written.
    """
    body = f'metadata\n    name = "{name}"\ncurve\n    public-key = "{public}"\n'
    write_key_file(path, f"{_PUBLIC_BANNER}{body}".encode(), PUBLIC_MODE)


def read_pair(path: Path) -> KeyPair:
    """Read a file with a secret key.

    Raises:
        KeyFileError: Missing, malformed, without a secret key, readable by others, or of halves that do not fit.
    """
    text, mode = _read(path)
    require_closed(path, mode)
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


def _read(path: Path) -> tuple[str, int]:
    data, mode = read_key_file(path, _MAKE)
    try:
        return data.decode(), mode
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
