"""Releases: whether somebody who may do so released the bundle of a manifest."""

from __future__ import annotations

import hashlib

import msgspec

from st4vla.contracts.errors import FileAlteredError, ManifestError, SignatureError
from st4vla.contracts.manifests import BUNDLE_MANIFEST
from st4vla.contracts.release import RELEASE_FILE, RELEASE_FORMAT, RELEASE_TYPE, Release, TrustList
from st4vla.runtime.signing.statements import decode_statement, open_envelope, require_signature


class _Named(msgspec.Struct):
    name: str


def verify_release(envelope: bytes, manifest: bytes, trust: TrustList, what: str = RELEASE_FILE) -> tuple[Release, str]:
    """Return the release of a manifest, and the id of the key that signed it.

    Whether its counter is high enough, and whether it is for this device, is for the caller to say.

    Args:
        envelope: Bytes of `release.json`.
        manifest: Bytes of `bundle.json`.
        trust: Whose signatures count.
        what: What to call the envelope in messages, such as its path.

    Raises:
        SignatureError: It is not signed by a key that `trust` has for releases and has not revoked, or is unreadable.
        FileAlteredError: The manifest is not the one that was signed.
        ManifestError: The manifest has no name.
        MissingExtraError: The package `cryptography` is missing.
    """
    opened = open_envelope(envelope, RELEASE_TYPE, what)
    key_id = require_signature(opened, "release", trust, what)
    release = decode_statement(opened, Release, RELEASE_FORMAT, what)
    digest = hashlib.sha256(manifest).hexdigest()
    if digest != release.manifest_sha256:
        msg = (
            f"{BUNDLE_MANIFEST} is not the one that was signed: its SHA-256 is {digest[:12]}..., {what} says "
            f"{release.manifest_sha256[:12]}...; copy the bundle again, or sign it with `st4vla sign`"
        )
        raise FileAlteredError(msg)
    try:
        name = msgspec.json.decode(manifest, type=_Named).name
    except (msgspec.DecodeError, ValueError) as error:
        msg = f"{BUNDLE_MANIFEST} is not a valid manifest: {error}"
        raise ManifestError(msg) from error
    if name != release.bundle_name:
        msg = (
            f"{what} releases {release.bundle_name!r}, but {BUNDLE_MANIFEST} is called {name!r}; sign it again with "
            "`st4vla sign`"
        )
        raise SignatureError(msg)
    return release, key_id
