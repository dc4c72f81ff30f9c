"""Statements: signed by keys, and verified against a list of keys."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from st4vla.contracts.envelope import Envelope, Signature, decode_base64, read_envelope, signed_bytes, write_envelope
from st4vla.contracts.errors import SignatureError
from st4vla.contracts.release import Role, TrustList
from st4vla.runtime.signing.key_ids import SIGNATURE_BYTES, public_bytes, short

if TYPE_CHECKING:
    from st4vla.runtime.signing.ed25519 import SecretKey

#: More signatures than anybody needs for a rotation; each costs the time to verify it.
MAX_SIGNATURES = 16

S = TypeVar("S", bound=msgspec.Struct)


class _Version(msgspec.Struct):
    format_version: int


def sign_statement(payload_type: str, statement: msgspec.Struct, keys: Sequence[SecretKey]) -> bytes:
    """Return the bytes of an envelope that holds a statement, signed by each key once."""
    body = msgspec.json.encode(statement)
    message = signed_bytes(payload_type, body)
    signers = {key.key_id: key for key in keys}
    signatures = tuple(Signature(keyid, base64.b64encode(key.sign(message)).decode()) for keyid, key in signers.items())
    return write_envelope(Envelope(payload_type, base64.b64encode(body).decode(), signatures))


def open_envelope(data: bytes, payload_type: str, what: str) -> Envelope:
    """Return an envelope of the right kind, whose signatures nobody has looked at.

    Raises:
        SignatureError: It is none.
    """
    envelope = read_envelope(data, what)
    if envelope.payload_type != payload_type:
        msg = f"{what} is a statement of type {envelope.payload_type[:80]!r}; here one of {payload_type!r} is needed"
        raise SignatureError(msg)
    if not 1 <= len(envelope.signatures) <= MAX_SIGNATURES:
        msg = f"{what} has {len(envelope.signatures)} signatures; it must have 1 to {MAX_SIGNATURES}"
        raise SignatureError(msg)
    return envelope


def require_signature(envelope: Envelope, role: Role, trust: TrustList, what: str) -> str:
    """Return the id of a key that signed an envelope and may: the first such one.

    Signatures of other keys are passed over, so that a statement can be signed with an old and a new key.

    Raises:
        SignatureError: There is none. It says for each signature why it does not count, and what to do.
        MissingExtraError: The package `cryptography` is missing.
    """
    message = signed_bytes(envelope.payload_type, envelope.body)
    reasons = []
    for signature in envelope.signatures:
        reason = _objection(signature, message, role, trust)
        if reason is None:
            return signature.keyid
        reasons.append(reason)
    able = sorted(key.name for keyid, key in trust.keys.items() if role in key.roles and keyid not in trust.revoked)
    msg = (
        f"{what} is not trusted: {'; '.join(reasons)}. Sign it with a key that version {trust.version} of the trust "
        f"list has for {role!r}: {', '.join(able) or 'it has none'}"
    )
    raise SignatureError(msg)


def decode_statement(envelope: Envelope, kind: type[S], format_version: int, what: str) -> S:
    """Return what an envelope states.

    Raises:
        SignatureError: It is of another format version, or its fields do not fit.
    """
    body = envelope.body
    try:
        found = msgspec.json.decode(body, type=_Version).format_version
        if found != format_version:
            msg = f"{what} has format version {found}; this build reads {format_version}"
            raise SignatureError(msg)
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, ValueError) as error:
        msg = f"{what} is signed, but what it says cannot be read: {error}"
        raise SignatureError(msg) from error


def _objection(signature: Signature, message: bytes, role: Role, trust: TrustList) -> str | None:
    from st4vla.runtime.signing.ed25519 import is_signed  # noqa: PLC0415 - an extra, and slow to import

    revoked = trust.revoked.get(signature.keyid)
    if revoked is not None:
        return f"key {revoked.name!r} was revoked: {revoked.why}"
    key = trust.keys.get(signature.keyid)
    if key is None:
        return f"key {short(signature.keyid)} is not on the trust list"
    if role not in key.roles:
        return f"key {key.name!r} is trusted for {', '.join(map(repr, key.roles))}, not for {role!r}"
    found = decode_base64(signature.sig, f"the signature by key {key.name!r}")
    if len(found) != SIGNATURE_BYTES or not is_signed(public_bytes(key), found, message):
        return f"the signature by key {key.name!r} is wrong: it or what it signs was altered"
    return None
