"""Public signing keys and their files: PEM as `openssl pkey -pubin` reads it, with lines for people before it.

The lines say name and roles. They are proposals for a trust list, which alone decides.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from st4vla.contracts.envelope import decode_base64
from st4vla.contracts.errors import KeyFileError, SignatureError, UsageError
from st4vla.contracts.release import Role, TrustedKey
from st4vla.runtime.key_storage import PUBLIC_MODE, read_key_file, require_name, write_key_file
from st4vla.runtime.signing.key_ids import PUBLIC_BYTES, key_id

PUBLIC_SUFFIX = ".pub.pem"
ROLES: tuple[Role, ...] = get_args(Role)
MAKE = "st4vla keys signing NAME --out FOLDER"

#: DER of a SubjectPublicKeyInfo of Ed25519 up to the key itself (RFC 8410, section 4).
_PREFIX = bytes.fromhex("302a300506032b6570032100")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END PUBLIC KEY-----")
_LINE = re.compile(r"^(name|roles): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class PublicKey:
    """A public key, 32 bytes, with its name and the roles that were meant for it when it was made."""

    name: str
    public: bytes
    roles: tuple[Role, ...] = ()

    @property
    def key_id(self) -> str:
        """SHA-256 of its bytes, hexadecimal."""
        return key_id(self.public)

    def trusted(self, roles: tuple[Role, ...]) -> TrustedKey:
        """Return it as it stands in a trust list."""
        return TrustedKey(self.name, base64.b64encode(self.public).decode(), roles)


def write_public_key(path: Path, key: PublicKey) -> None:
    """Write a public key's file.

    Raises:
        StorageError: It cannot be written.
    """
    body = base64.b64encode(_PREFIX + key.public).decode()
    text = (
        "ST4VLA signing key, public half. It may be shown to anybody; compare key ids when it was sent to you.\n"
        f"name: {key.name}\nroles: {' '.join(key.roles)}\nkey id: {key.key_id}\n"
        f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"
    )
    write_key_file(path, text.encode(), PUBLIC_MODE)


def read_public_key(path: Path) -> PublicKey:
    """Read a public key's file; one without our lines is called as its file is.

    Raises:
        KeyFileError: Missing, malformed, of another kind, or with a secret key in it.
    """
    data, _ = read_key_file(path, MAKE)
    text = data.decode("ascii", "replace")
    if "PRIVATE KEY-----" in text:
        msg = f"{path} holds a secret key; name its public file, and keep this one where it was made"
        raise KeyFileError(msg)
    found = _PEM.search(text)
    if found is None:
        raise KeyFileError(_malformed(path, "it has no PEM block PUBLIC KEY"))
    try:
        der = decode_base64("".join(found[1].split()), "its block")
    except SignatureError as error:
        raise KeyFileError(_malformed(path, str(error))) from None
    if not der.startswith(_PREFIX) or len(der) != len(_PREFIX) + PUBLIC_BYTES:
        raise KeyFileError(_malformed(path, "its key is of another kind"))
    lines = dict(_LINE.findall(text[: found.start()]))
    roles = tuple(role for role in ROLES if role in lines.get("roles", "").split())
    key = PublicKey(lines.get("name", path.name.removesuffix(PUBLIC_SUFFIX)), der[len(_PREFIX) :], roles)
    try:
        require_name(key.name)
    except UsageError as error:
        msg = f"{path}: {error}"
        raise KeyFileError(msg) from None
    return key


def _malformed(path: Path, why: str) -> str:
    return f"{path} is not a public key of Ed25519: {why}; copy it again, or make one with `{MAKE}`"
