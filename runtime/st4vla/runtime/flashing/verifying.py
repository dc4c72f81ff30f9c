"""Whether the objects of an offer are what its manifest promises: every byte is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from st4vla.contracts.errors import FileAlteredError, FileMissingError
from st4vla.contracts.files import FileEntry
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.offers import Offer
from st4vla.runtime.flashing.store import Store

_BLOCK_BYTES = 1 << 20


def verify_objects(layout: Layout, offer: Offer, report: Callable[[float], None]) -> None:
    """Read all objects of an offer. One that the disk has spoilt is thrown away, so that the next offer asks for it.

    Args:
        layout: Where they lie.
        offer: A verified offer.
        report: Called again and again with the share that is done; what it raises ends this.

    Raises:
        FileMissingError, FileAlteredError: An object is not there, or is another; the file is named.
    """
    total, done = sum(entry.size for entry in offer.manifest.files.values()), 0
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    for name, entry in offer.manifest.files.items():
        digest = hashlib.sha256()
        for size in _read(layout, name, entry, buffer):
            digest.update(buffer[:size])
            done += size
            report(done / max(1, total))
        if digest.hexdigest() != entry.sha256:
            Store(layout).discard(entry.sha256)
            msg = (
                f"{name} is not what was stored as object {entry.sha256[:12]}: the disk has altered it, and it is "
                "thrown away; flash again, and look after the disk"
            )
            raise FileAlteredError(msg)


def _read(layout: Layout, name: str, entry: FileEntry, buffer: memoryview) -> Iterator[int]:
    """Fill a buffer with an object's bytes again and again, and yield how many they are."""
    try:
        with layout.object(entry.sha256).open("rb", buffering=0) as stream:
            while size := stream.readinto(buffer):
                yield size
    except FileNotFoundError:
        msg = f"{name} (object {entry.sha256[:12]}) is not on this device; offer the bundle again, and send it"
        raise FileMissingError(msg) from None
