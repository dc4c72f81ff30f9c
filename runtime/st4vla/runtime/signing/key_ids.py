"""What keys are called by programs."""

from __future__ import annotations

import hashlib

from st4vla.contracts.envelope import decode_base64
from st4vla.contracts.errors import SignatureError
from st4vla.contracts.release import TrustedKey

#: Bytes of an Ed25519 public key, and of a signature.
PUBLIC_BYTES, SIGNATURE_BYTES = 32, 64


def key_id(public: bytes) -> str:
    """Return the id of a public key: SHA-256 of its 32 bytes, hexadecimal."""
    return hashlib.sha256(public).hexdigest()


def public_bytes(key: TrustedKey) -> bytes:
    """Return the 32 bytes of a key of a trust list.

    Raises:
        SignatureError: There are none.
    """
    public = decode_base64(key.public, f"the public key {key.name!r} of a trust list")
    if len(public) != PUBLIC_BYTES:
        msg = f"the public key {key.name!r} of a trust list has {len(public)} bytes; one of Ed25519 has {PUBLIC_BYTES}"
        raise SignatureError(msg)
    return public


def short(keyid: str) -> str:
    """Return the beginning of a key id, which a stranger may have written, for a message."""
    return f"{keyid[:12]!r}..." if len(keyid) > 12 else repr(keyid)
