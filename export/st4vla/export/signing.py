"""Release a bundle: sign its manifest, which names the digest of every other file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from st4vla.contracts.envelope import read_envelope
from st4vla.contracts.errors import SignatureError, StorageError, UsageError
from st4vla.contracts.files import write_atomically
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle
from st4vla.contracts.release import (
    RELEASE_FILE,
    RELEASE_FORMAT,
    RELEASE_TYPE,
    TRUST_FORMAT,
    LatencyBudget,
    Release,
    Requirements,
    TrustList,
)
from st4vla.runtime.signing import read_release, verify_release
from st4vla.runtime.signing.public_keys import PublicKey
from st4vla.runtime.signing.statements import sign_statement

if TYPE_CHECKING:
    from st4vla.runtime.signing.ed25519 import SecretKey


class Terms(msgspec.Struct, frozen=True):
    """What a release says beside the bundle's name and digest; see `Release`."""

    requires: Requirements = Requirements()
    budget: LatencyBudget = LatencyBudget()
    note: str = ""


def sign_bundle(
    folder: Path, keys: Sequence[SecretKey], terms: Terms, *, counter: int | None = None, trust: TrustList | None = None
) -> Release:
    """Verify every file of a bundle, sign it, verify what was signed, and write `release.json`.

    Args:
        folder: The bundle.
        keys: Each signs; the old and the new one while a key is changed.
        terms: What to say of it.
        counter: Of the release (default: `next_counter`).
        trust: The list that devices have; what is signed must pass it.

    Raises:
        ManifestError, FileMissingError, FileAlteredError: The bundle is not whole.
        UsageError: The counter is not above that of the release that lies in the folder.
        SignatureError: The keys are not trusted for releases, or the signature is wrong.
        StorageError: `release.json` cannot be written.
    """
    bundle = Bundle(folder)
    least = next_counter(folder, bundle.manifest.name, now_s=0)
    if counter is None:
        counter = next_counter(folder, bundle.manifest.name, now_s=int(time.time()))
    elif counter < least:
        msg = (
            f"--counter {counter}: {folder / RELEASE_FILE} has {least - 1} already, and devices that took that take "
            f"nothing lower; choose {least} or more, or leave --counter out"
        )
        raise UsageError(msg)
    signed_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    release = Release(
        RELEASE_FORMAT,
        bundle.manifest.name,
        bundle.digest,
        counter,
        signed_at,
        terms.requires,
        terms.budget,
        terms.note,
    )
    envelope = sign_statement(RELEASE_TYPE, release, keys)
    manifest = (folder / BUNDLE_MANIFEST).read_bytes()
    for trusted in [*map(_only, keys), *([trust] if trust else [])]:
        verify_release(envelope, manifest, trusted)
    try:
        write_atomically(folder / RELEASE_FILE, envelope)
    except OSError as error:
        msg = f"{folder / RELEASE_FILE} cannot be written: {error.strerror}"
        raise StorageError(msg) from error
    return release


def next_counter(folder: Path, name: str, now_s: int) -> int:
    """Return the counter for a release: seconds since 1970, but above that of the release of this name in the folder.

    Raises:
        SignatureError: There is a release that cannot be read.
    """
    path = folder / RELEASE_FILE
    if not path.exists():
        return max(now_s, 1)
    try:
        # Nothing is trusted here: at worst somebody makes us count from a higher number.
        before = msgspec.json.decode(read_envelope(read_release(folder), str(path)).body, type=Release)
    except (msgspec.DecodeError, ValueError, SignatureError) as error:
        msg = f"{path} cannot be read, so that its counter is not known: {error}; remove it, then sign again"
        raise SignatureError(msg) from error
    return max(now_s, before.counter + 1 if before.bundle_name == name else 1)


def _only(key: SecretKey) -> TrustList:
    """Return a list that trusts one key, to verify what it has just signed."""
    trusted = PublicKey("the key that signed", key.public).trusted(("release",))
    return TrustList(TRUST_FORMAT, 1, {key.key_id: trusted})
