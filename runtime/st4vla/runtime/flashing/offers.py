"""Bundles that were offered: their manifest and release, verified, while their objects arrive.

Nothing is believed because it lies on the disk: an offer is verified again each time it is found, against the list of
trusted keys as it is then.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from st4vla.contracts.errors import DowngradeError, FlashError, ManifestError
from st4vla.contracts.files import write_atomically
from st4vla.contracts.manifests import BUNDLE_FORMAT, BUNDLE_MANIFEST, BundleManifest
from st4vla.contracts.release import RELEASE_FILE, Release
from st4vla.runtime.flashing.arriving import disk_error
from st4vla.runtime.flashing.durable import make_folder, remove_folder, sync_folder
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.locking import locked
from st4vla.runtime.flashing.state import DeviceState, read_state
from st4vla.runtime.flashing.store import LOCK_S
from st4vla.runtime.signing import read_trust, verify_release

#: Bundles that are offered and not dropped; another one takes the place of the oldest.
MAX_OFFERS = 4
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Offer:
    """A bundle that a trusted key has signed.

    Attributes:
        digest: SHA-256 of its manifest.
        manifest: What it holds.
        release: What its signer says of it.
        key_id: Who that is.
        folder: Where `bundle.json` and `release.json` lie.
    """

    digest: str
    manifest: BundleManifest
    release: Release
    key_id: str
    folder: Path


class Offers:
    """A device's open offers.

    Args:
        layout: Where they lie.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def take(self, manifest: bytes, release: bytes) -> Offer:
        """Verify an offer and keep it.

        Args:
            manifest: Bytes of `bundle.json`.
            release: Bytes of `release.json`.

        Raises:
            SignatureError: It is not signed by a key that is trusted for that.
            FileAlteredError: The manifest is not the one that was signed.
            DowngradeError: It is older than what the device has committed.
            ManifestError: What was signed is no bundle.
            StorageError: The disk does not take it.
        """
        folder = self._layout.offer(hashlib.sha256(manifest).hexdigest())
        offer = self._verified(manifest, release, folder)
        try:
            make_folder(folder.parent)
            with locked(self._layout.lock, "changes this device's offers", wait_s=LOCK_S):
                if folder.is_dir():
                    # Perhaps signed anew; nothing else can differ.
                    write_atomically(folder / RELEASE_FILE, release)
                else:
                    _write_folder(folder, {BUNDLE_MANIFEST: manifest, RELEASE_FILE: release})
                    self._drop_oldest()
        except OSError as error:
            raise disk_error(error, folder, "a bundle is offered") from error
        return offer

    def find(self, digest: str) -> Offer:
        """Return an offer by the digest of its manifest.

        Raises:
            FlashError: There is none.
            SignatureError, FileAlteredError, DowngradeError, ManifestError: As for `take`.
        """
        folder = self._layout.offer(digest)
        if not _DIGEST.fullmatch(digest) or not folder.is_dir():
            msg = f"no bundle {digest[:12]} was offered to this device; offer it first"
            raise FlashError(msg)
        manifest, release = ((folder / name).read_bytes() for name in (BUNDLE_MANIFEST, RELEASE_FILE))
        return self._verified(manifest, release, folder)

    def drop(self, digest: str) -> None:
        """Forget an offer; its objects stay until they are collected."""
        if _DIGEST.fullmatch(digest):
            with locked(self._layout.lock, "changes this device's offers", wait_s=LOCK_S):
                remove_folder(self._layout.offer(digest))

    def objects(self) -> set[str]:
        """Return the SHA-256 of all objects that open offers refer to."""
        found: set[str] = set()
        for folder in self._folders():
            # One that has rotted on the disk is refused when somebody asks for it.
            with contextlib.suppress(ManifestError, OSError):
                files = _decode((folder / BUNDLE_MANIFEST).read_bytes()).files
                found.update(entry.sha256 for entry in files.values())
        return found

    def _verified(self, manifest: bytes, release: bytes, folder: Path) -> Offer:
        said, key_id = verify_release(release, manifest, read_trust(self._layout.trust))
        contents, digest = _decode(manifest), hashlib.sha256(manifest).hexdigest()
        require_not_older(said, digest, read_state(self._layout.state))
        return Offer(digest, contents, said, key_id, folder)

    def _drop_oldest(self) -> None:
        folders = sorted(self._folders(), key=lambda folder: folder.stat().st_mtime)
        for folder in folders[: max(0, len(folders) - MAX_OFFERS)]:
            remove_folder(folder)

    def _folders(self) -> Iterator[Path]:
        # Those that begin with a dot are half made.
        return self._layout.offer("0").parent.glob("[0-9a-f]*")


def require_not_older(release: Release, digest: str, state: DeviceState) -> None:
    """Refuse a release that is older than the newest one of its name that a device has committed.

    Raises:
        DowngradeError: Its counter is lower, or the same for another bundle.
    """
    committed = state.committed.get(release.bundle_name)
    if committed is None or release.counter > committed.counter:
        return
    if release.counter < committed.counter:
        msg = (
            f"{release.bundle_name!r} has the counter {release.counter}, but this device has committed "
            f"{committed.counter} already: to go back to an older bundle, sign it anew with a higher counter"
        )
        raise DowngradeError(msg)
    if digest != committed.bundle_digest:
        msg = (
            f"{release.bundle_name!r} has the counter {release.counter}, which this device has committed for another "
            f"bundle ({committed.bundle_digest[:12]}, not {digest[:12]}); sign it anew with a higher counter"
        )
        raise DowngradeError(msg)


def _decode(manifest: bytes) -> BundleManifest:
    try:
        contents = msgspec.json.decode(manifest, type=BundleManifest)
    except (msgspec.DecodeError, ValueError) as error:
        msg = f"{BUNDLE_MANIFEST} is not a valid manifest: {error}"
        raise ManifestError(msg) from error
    if contents.format_version != BUNDLE_FORMAT:
        msg = f"{BUNDLE_MANIFEST} has format version {contents.format_version}; this build reads {BUNDLE_FORMAT}"
        raise ManifestError(msg)
    return contents


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Make a folder with files in it, at once."""
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name[:12]}.", dir=folder.parent))
    try:
        for name, data in files.items():
            write_atomically(work / name, data)
        work.chmod(0o755)
        work.replace(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    sync_folder(folder.parent)
