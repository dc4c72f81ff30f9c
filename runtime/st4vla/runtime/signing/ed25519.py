"""Ed25519 (RFC 8032), by the package `cryptography`. This module alone imports it, and is imported where it is used."""

from __future__ import annotations

from st4vla.contracts.errors import KeyFileError, MissingExtraError
from st4vla.runtime.signing.key_ids import key_id

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        KeySerializationEncryption,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
        load_pem_private_key,
    )
except ImportError as error:
    msg = f"signatures need the package cryptography ({error}); install it with: pip install 'st4vla[device]'"
    raise MissingExtraError(msg) from error


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether a signature is that of a message by the owner of a public key (32 bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


class SecretKey:
    """A key that signs. What it shows of itself holds nothing secret."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        #: 32 bytes.
        self.public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key_id = key_id(self.public)

    def __repr__(self) -> str:
        return f"SecretKey({self.key_id[:12]}...)"

    @classmethod
    def make(cls) -> SecretKey:
        """Return a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> SecretKey:
        """Return the key of 32 secret bytes."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None) -> SecretKey:
        """Return the key of a PKCS #8 file.

        Raises:
            KeyFileError: It cannot be read so, or is another kind of key.
        """
        try:
            key = load_pem_private_key(pem, passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # What the library says is not repeated: nobody promises that it holds nothing of the key.
            what = "it is damaged" if passphrase is None else "the passphrase is wrong, or it is damaged"
            raise KeyFileError(what) from None
        if not isinstance(key, Ed25519PrivateKey):
            msg = f"it holds a key of another kind ({type(key).__name__.removesuffix('PrivateKey')}), not Ed25519"
            raise KeyFileError(msg)
        return cls(key)

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """Return the key as a PKCS #8 file, encrypted if there is a passphrase."""
        lock: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        return self._key.sign(message)
