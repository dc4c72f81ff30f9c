"""Bring a bundle from a folder of this machine to a device's store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from st4vla.contracts.errors import FileMissingError
from st4vla.contracts.manifests import BUNDLE_MANIFEST
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.offers import Offers
from st4vla.runtime.flashing.store import Store
from st4vla.runtime.signing import read_release


def bring(layout: Layout, config: DeviceConfig, folder: Path, progress: Callable[[str, int, int], None]) -> str:
    """Verify a signed bundle and copy what of it is missing; return the digest of its manifest.

    Args:
        layout: The device's files.
        config: How it is set up.
        folder: Where `bundle.json` and `release.json` lie.
        progress: Called with what is done, how much of it, and of how much.

    Raises:
        SignatureError, DowngradeError, ManifestError: The bundle is not taken.
        FileMissingError, FileAlteredError: It is not whole.
        StorageError: The disk does not take it.
    """
    release = read_release(folder)
    try:
        manifest = (folder / BUNDLE_MANIFEST).read_bytes()
    except OSError as error:
        msg = f"{folder / BUNDLE_MANIFEST} cannot be read: {error.strerror}"
        raise FileMissingError(msg) from error
    offer, store = Offers(layout).take(manifest, release), Store(layout, config.preflight.disk_reserve_bytes)
    missing = {wanted.sha256 for wanted in store.missing(offer.manifest.files)}
    files = [(name, entry) for name, entry in offer.manifest.files.items() if entry.sha256 in missing]
    for number, (name, entry) in enumerate(files, 1):
        store.add_file(folder / name, entry)
        progress("files copied", number, len(files))
    return offer.digest
