"""Bring a bundle from a folder of this machine to a device's store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from st4vla.contracts.errors import FileMissingError
from st4vla.contracts.manifests import BUNDLE_MANIFEST
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.offers import Offer, Offers
from st4vla.runtime.flashing.store import Store
from st4vla.runtime.signing import read_release


def offer_folder(layout: Layout, folder: Path) -> Offer:
    """Verify the manifest and the release of a bundle, and keep them; its files are not looked at.

    Args:
        layout: The device's files.
        folder: Where `bundle.json` and `release.json` lie.

    Raises:
        SignatureError, DowngradeError, ManifestError: The bundle is not taken.
        FileMissingError: There is none.
        StorageError: The disk does not take it.
    """
    release = read_release(folder)
    try:
        manifest = (folder / BUNDLE_MANIFEST).read_bytes()
    except OSError as error:
        msg = f"{folder / BUNDLE_MANIFEST} cannot be read: {error.strerror}"
        raise FileMissingError(msg) from error
    return Offers(layout).take(manifest, release)


def bring(layout: Layout, config: DeviceConfig, folder: Path, progress: Callable[[str, int, int], None]) -> Offer:
    """Verify a signed bundle and copy what of it is missing.

    Args:
        layout: The device's files.
        config: How it is set up.
        folder: Where it lies; files that the device has already need not be there.
        progress: Called with what is done, how much of it, and of how much.

    Raises:
        SignatureError, DowngradeError, ManifestError: The bundle is not taken.
        FileMissingError, FileAlteredError: It is not whole.
        StorageError: The disk does not take it.
    """
    offered, store = offer_folder(layout, folder), Store(layout, config.preflight.disk_reserve_bytes)
    missing = {wanted.sha256 for wanted in store.missing(offered.manifest.files)}
    files = [(name, entry) for name, entry in offered.manifest.files.items() if entry.sha256 in missing]
    for number, (name, entry) in enumerate(files, 1):
        store.add_file(folder / name, entry)
        progress("files copied", number, len(files))
    return offered
