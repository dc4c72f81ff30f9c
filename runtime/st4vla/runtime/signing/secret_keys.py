"""Secret signing keys and their files: PKCS #8 in PEM, as `openssl pkey` reads it, of mode 600, encrypted or not.

No message of this module holds anything of a secret key or a passphrase.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from st4vla.contracts.errors import KeyFileError, UsageError
from st4vla.runtime.key_storage import (
    SECRET_MODE,
    read_key_file,
    require_closed,
    require_free,
    require_name,
    write_key_file,
)
from st4vla.runtime.signing.public_keys import MAKE, PUBLIC_SUFFIX, PublicKey, write_public_key

if TYPE_CHECKING:
    from st4vla.contracts.release import Role
    from st4vla.runtime.signing.ed25519 import SecretKey

SECRET_SUFFIX = ".secret.pem"  # noqa: S105
#: Environment variable with the passphrase, for machines where nobody can be asked.
PASSPHRASE_VARIABLE = "ST4VLA_KEY_PASSPHRASE"  # noqa: S105
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def make_signing_key(
    folder: Path, name: str, roles: tuple[Role, ...], *, passphrase: bytes | None = None, force: bool = False
) -> tuple[PublicKey, Path, Path]:
    """Make a key and write its two files; return it with the public and the secret path.

    Raises:
        UsageError: The name is none, or a file is there already and `force` is not given.
        MissingExtraError: The package `cryptography` is missing.
        StorageError: They cannot be written.
    """
    from st4vla.runtime.signing.ed25519 import SecretKey  # noqa: PLC0415 - an extra

    require_name(name)
    public_path, secret_path = folder / f"{name}{PUBLIC_SUFFIX}", folder / f"{name}{SECRET_SUFFIX}"
    require_free((secret_path, public_path), force=force)
    secret = SecretKey.make()
    public = PublicKey(name, secret.public, roles)
    write_key_file(secret_path, secret.to_pem(passphrase), SECRET_MODE)
    write_public_key(public_path, public)
    return public, public_path, secret_path


def read_secret_key(path: Path, ask: Callable[[str], bytes] | None = None) -> SecretKey:
    """Read a secret key; its passphrase, if it has one, is asked for.

    Args:
        path: Its file.
        ask: Returns a passphrase, is given a prompt (default: `ask_passphrase`).

    Raises:
        KeyFileError: Missing, malformed, readable by others, or the passphrase is wrong.
        MissingExtraError: The package `cryptography` is missing.
    """
    data, mode = _read(path)
    require_closed(path, mode)
    passphrase = (ask or ask_passphrase)(f"Passphrase of {path}: ") if _ENCRYPTED in data else None
    return _decode(path, data, passphrase)


def inspect_secret_key(path: Path) -> tuple[str | None, int]:
    """Return the key id of a secret key, None if that needs its passphrase, and the mode of its file.

    Raises:
        KeyFileError: Missing or malformed.
        MissingExtraError: The package `cryptography` is missing.
    """
    data, mode = _read(path)
    return None if _ENCRYPTED in data else _decode(path, data, None).key_id, mode


def ask_passphrase(prompt: str) -> bytes:
    """Return a passphrase from the environment, or from whoever sits at the terminal.

    Raises:
        KeyFileError: There is neither.
    """
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given:
        return given.encode()
    if not sys.stdin.isatty():
        msg = f"a passphrase is needed, and there is no terminal to ask at; set {PASSPHRASE_VARIABLE}"
        raise KeyFileError(msg)
    return getpass.getpass(prompt).encode()


def choose_passphrase(name: str) -> bytes:
    """Return a passphrase for a new key, from the environment or typed twice.

    Raises:
        KeyFileError: Nobody can be asked.
        UsageError: It is empty, or was typed differently.
    """
    first = ask_passphrase(f"New passphrase of {name}: ")
    if not first:
        msg = "an empty passphrase protects nothing; leave --passphrase out for a key without one"
        raise UsageError(msg)
    if first != ask_passphrase("Again: "):
        msg = "the passphrase was typed differently the second time; nothing was written"
        raise UsageError(msg)
    return first


def _read(path: Path) -> tuple[bytes, int]:
    data, mode = read_key_file(path, MAKE)
    if b"PRIVATE KEY-----" not in data:
        msg = f"{path} holds no secret key; name the file that ends in {SECRET_SUFFIX}, or make one with `{MAKE}`"
        raise KeyFileError(msg)
    return data, mode


def _decode(path: Path, data: bytes, passphrase: bytes | None) -> SecretKey:
    from st4vla.runtime.signing.ed25519 import SecretKey  # noqa: PLC0415 - an extra

    try:
        return SecretKey.from_pem(data, passphrase)
    except KeyFileError as error:
        msg = f"{path} cannot be used: {error}; make another key with `{MAKE}` if this one is lost"
        raise KeyFileError(msg) from None
