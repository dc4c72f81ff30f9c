"""Keys, a list that trusts them, and a small manifest that one of them released."""

import hashlib
from dataclasses import dataclass, field

import pytest

from st4vla.contracts.release import RELEASE_FORMAT, RELEASE_TYPE, TRUST_FORMAT, Release, Role, TrustList
from st4vla.runtime.signing.ed25519 import SecretKey
from st4vla.runtime.signing.public_keys import PublicKey
from st4vla.runtime.signing.statements import sign_statement


@dataclass(frozen=True)
class House:
    """Whoever releases bundles for some devices."""

    owner: SecretKey = field(default_factory=lambda: SecretKey.from_seed(bytes([1]) * 32))
    signer: SecretKey = field(default_factory=lambda: SecretKey.from_seed(bytes([2]) * 32))
    stranger: SecretKey = field(default_factory=lambda: SecretKey.from_seed(bytes([3]) * 32))
    manifest: bytes = b'{"format_version": 1, "name": "tiny"}'

    @property
    def trust(self) -> TrustList:
        return self.list(owner=(self.owner, ("trust",)), signer=(self.signer, ("release",)))

    def list(self, version: int = 1, **keys: tuple[SecretKey, tuple[Role, ...]]) -> TrustList:
        entries = {key.key_id: PublicKey(name, key.public).trusted(roles) for name, (key, roles) in keys.items()}
        return TrustList(TRUST_FORMAT, version, entries)

    def release(self, manifest: bytes | None = None, *, name: str = "tiny", counter: int = 7) -> Release:
        digest = hashlib.sha256(self.manifest if manifest is None else manifest).hexdigest()
        return Release(RELEASE_FORMAT, name, digest, counter, "2026-01-01T00:00:00+00:00")

    def signed(self, *keys: SecretKey, release: Release | None = None) -> bytes:
        return sign_statement(RELEASE_TYPE, release or self.release(), keys or (self.signer,))


@pytest.fixture(scope="session")
def house() -> House:
    return House()
