"""Signed statements: DSSE envelopes (github.com/secure-systems-lab/dsse), without the cryptography.

What is signed is not the JSON of the envelope but its *pre-authentication encoding*, which holds the kind of the
statement too: a signature of a release can never be shown as one of a trust list.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from st4vla.contracts.errors import SignatureError

#: No statement is longer: a file that somebody else wrote is read only so far.
MAX_ENVELOPE_BYTES = 1 << 20
KEY_ID_CHARACTERS = 64


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature of an envelope.

    Attributes:
        keyid: Whose it claims to be: SHA-256 of the 32 bytes of an Ed25519 public key, hexadecimal.
        sig: 64 bytes of Ed25519, in Base64.
    """

    keyid: str
    sig: str


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A statement and its signatures, as they lie in a file.

    Attributes:
        payload_type: Kind of the statement.
        payload: The statement itself, in Base64.
        signatures: At least one.
    """

    payload_type: str
    payload: str
    signatures: tuple[Signature, ...]

    @property
    def body(self) -> bytes:
        """The statement's bytes.

        Raises:
            SignatureError: The payload is not Base64.
        """
        return decode_base64(self.payload, "the payload of a signed statement")


def read_envelope(data: bytes, what: str) -> Envelope:
    """Return an envelope from the bytes of its file; nothing about it is known to be true yet.

    Args:
        data: JSON.
        what: What it is the envelope of, for the message, such as a path.

    Raises:
        SignatureError: It is no envelope.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        msg = f"{what} is {len(data)} bytes long; a signed statement has at most {MAX_ENVELOPE_BYTES}"
        raise SignatureError(msg)
    try:
        return msgspec.json.decode(data, type=Envelope)
    except (msgspec.DecodeError, ValueError) as error:
        msg = f"{what} is not a signed statement: {error}; copy it again, or sign it again"
        raise SignatureError(msg) from error


def write_envelope(envelope: Envelope) -> bytes:
    """Return the bytes of an envelope's file."""
    return msgspec.json.format(msgspec.json.encode(envelope), indent=2) + b"\n"


def signed_bytes(payload_type: str, body: bytes) -> bytes:
    """Return what a signature is of: DSSE's pre-authentication encoding, version 1."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


def decode_base64(text: str, what: str) -> bytes:
    """Return the bytes behind strict Base64: the one text that encodes them, in the standard alphabet.

    Raises:
        SignatureError: It is not.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = None
    # Unused bits at the end that are not zero are decoded as if they were.
    if data is None or base64.b64encode(data).decode() != text:
        msg = f"{what} is not Base64"
        raise SignatureError(msg)
    return data
