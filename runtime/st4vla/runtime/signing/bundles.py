"""Signed bundles in a folder."""

from __future__ import annotations

from pathlib import Path

from st4vla.contracts.envelope import MAX_ENVELOPE_BYTES
from st4vla.contracts.errors import SignatureError
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle
from st4vla.contracts.release import RELEASE_FILE, Release, TrustList
from st4vla.runtime.signing.releases import verify_release


def read_release(folder: Path) -> bytes:
    """Return the bytes of a bundle's release, which nobody has verified.

    Raises:
        SignatureError: There is none: the bundle is not signed.
    """
    path = folder / RELEASE_FILE
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_ENVELOPE_BYTES + 1)
    except FileNotFoundError:
        msg = f"{path} is not there, so the bundle is not signed; sign it with `st4vla sign {folder} --key FILE`"
        raise SignatureError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise SignatureError(msg) from error


def verify_bundle(folder: Path, trust: TrustList) -> tuple[Bundle, Release, str]:
    """Return a bundle whose signature and whose every file are right, its release, and the id of the key that signed.

    Raises:
        SignatureError, FileAlteredError, FileMissingError, ManifestError: It is not so; the file is named.
        MissingExtraError: The package `cryptography` is missing.
    """
    envelope = read_release(folder)
    bundle = Bundle(folder)
    release, key_id = verify_release(
        envelope, (folder / BUNDLE_MANIFEST).read_bytes(), trust, str(folder / RELEASE_FILE)
    )
    return bundle, release, key_id
