"""What travels: a bundle's files by their digests, verified once for all devices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from st4vla.contracts.files import FileEntry, read_manifest, verify_files
from st4vla.contracts.flash_messages import Offer, WantedObject
from st4vla.contracts.manifests import BUNDLE_FORMAT, BUNDLE_MANIFEST, BundleManifest
from st4vla.contracts.release import RELEASE_FILE, TRUST_FORMAT, Release, TrustList
from st4vla.runtime.signing import read_release, verify_release
from st4vla.runtime.signing.public_keys import read_public_key

#: Files are read and hashed side by side; a disk is then busy, and more helps no further.
HASHING_THREADS = 4


@dataclass(frozen=True)
class Payload:
    """A bundle whose release is signed by a key that we trust.

    Attributes:
        folder: Where it lies.
        digest: SHA-256 of its manifest, hexadecimal: its name among devices.
        offer: Its manifest and release, as they travel.
        release: What its signer says of it.
        files: Relative path to digest and size.
    """

    folder: Path
    digest: str
    offer: Offer
    release: Release
    files: dict[str, FileEntry]

    @property
    def size(self) -> int:
        """Bytes of all files, each content once."""
        return sum({entry.sha256: entry.size for entry in self.files.values()}.values())

    def path(self, sha256: str) -> tuple[Path, int]:
        """Return a file of this content, and its size.

        Raises:
            KeyError: The bundle has none.
        """
        for name, entry in self.files.items():
            if entry.sha256 == sha256:
                return self.folder / name, entry.size
        raise KeyError(sha256)

    def names(self, objects: Iterable[WantedObject]) -> list[str]:
        """Return the names of the files that a device has not got."""
        wanted = {one.sha256 for one in objects}
        return [name for name, entry in self.files.items() if entry.sha256 in wanted]

    def verify(self) -> None:
        """Read all files once and compare their digests with the manifest's.

        Raises:
            FileMissingError: One is missing; the message names it.
            FileAlteredError: One was altered; the message names it.
            ManifestError: One would lie outside the folder.
        """
        with ThreadPoolExecutor(HASHING_THREADS) as threads:
            tasks = [
                threads.submit(verify_files, self.folder, {name: entry})
                # Largest first, so that the last one to end is a small one.
                for name, entry in sorted(self.files.items(), key=lambda item: -item[1].size)
            ]
            for task in tasks:
                task.result()


def open_payload(folder: Path, trust: TrustList) -> Payload:
    """Return a bundle whose signature is verified; `Payload.verify` is still to be called.

    Raises:
        ManifestError: It is no bundle.
        SignatureError: It is not signed, or its key is not trusted.
        FileAlteredError: Its manifest was altered since.
        MissingExtraError: The package `cryptography` is missing.
    """
    path = folder / BUNDLE_MANIFEST
    files = read_manifest(path, BundleManifest, BUNDLE_FORMAT).files
    manifest, envelope = path.read_bytes(), read_release(folder)
    release, _ = verify_release(envelope, manifest, trust, str(folder / RELEASE_FILE))
    return Payload(folder, hashlib.sha256(manifest).hexdigest(), Offer(manifest, envelope), release, files)


def trust_only(path: Path) -> TrustList:
    """Return a list that trusts one public key, for releases.

    Raises:
        KeyFileError: The file holds none.
    """
    key = read_public_key(path)
    return TrustList(TRUST_FORMAT, 1, {key.key_id: key.trusted(("release",))})
