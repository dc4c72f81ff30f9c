"""Files of bundles by their SHA-256: whole, verified and never written to again, or on their way.

An object appears under its name at once, when all its bytes are on disk and have that digest. Until then it is a part
beside the objects, which a later connection goes on with. Several processes may bring parts of one object: each call
holds the lock, and bytes that are there already are not written again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path

from st4vla.contracts.errors import FileAlteredError, FileMissingError, StorageError, TransportError
from st4vla.contracts.files import FileEntry
from st4vla.contracts.flash_messages import DATA_BYTES, WantedObject
from st4vla.runtime.flashing.arriving import ArrivingObject, disk_error
from st4vla.runtime.flashing.config import PreflightConfig
from st4vla.runtime.flashing.durable import make_folder, remove_file, sync_folder
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.locking import locked

PART_SUFFIX = ".part"
#: How long a call waits for another process that changes objects.
LOCK_S = 30.0
_DIGEST = re.compile("[0-9a-f]{64}")
_BUSY = "changes this device's objects"


class Store:
    """A device's objects.

    Args:
        layout: Where they lie.
        reserve_bytes: What stays free of the disk.
    """

    def __init__(self, layout: Layout, reserve_bytes: int = PreflightConfig().disk_reserve_bytes) -> None:
        self._layout, self._reserve_bytes = layout, reserve_bytes
        self._lock = layout.lock
        self._arriving: ArrivingObject | None = None

    def missing(self, files: Mapping[str, FileEntry]) -> tuple[WantedObject, ...]:
        """Return which of a manifest's files are not there, each once, and from which byte on they are.

        Raises:
            StorageError: The disk has no room for them.
            FileAlteredError: The manifest promises one digest in two sizes, or what is no digest.
        """
        wanted: dict[str, WantedObject] = {}
        for name, entry in files.items():
            self._require_digest(entry.sha256)
            if entry.sha256 in wanted and wanted[entry.sha256].size != entry.size:
                msg = f"the manifest gives {name} a size that cannot be: {entry.size} bytes; export the bundle again"
                raise FileAlteredError(msg)
            if not self._settled(entry):
                wanted[entry.sha256] = WantedObject(entry.sha256, entry.size, _size(self._part(entry.sha256)) or 0)
        self._require_room(sum(max(0, one.size - self._set_aside(one.sha256)) for one in wanted.values()))
        return tuple(wanted.values())

    def holds(self, entry: FileEntry) -> bool:
        """Say whether an object is there, by its name and size."""
        return _size(self._layout.object(entry.sha256)) == entry.size

    def receive(self, sha256: str, size: int, offset: int, data: bytes | memoryview) -> bool:
        """Take bytes of an object, in order; True when it has become whole, or was before.

        Args:
            sha256: Which one.
            size: How many bytes it has, as its manifest says.
            offset: Where these belong.
            data: The bytes.

        Raises:
            FileAlteredError: All bytes are there and are not those of the digest, or there are too many. They are
                thrown away, and the object is wanted from its first byte.
            TransportError: Bytes before these are missing.
            StorageError: They cannot be written; what was written before is kept.
            DeviceBusyError: Another process holds the lock for long.
        """
        self._require_digest(sha256)
        try:
            with locked(self._lock, _BUSY, wait_s=LOCK_S):
                arriving = self._open(sha256, size)
                return arriving is None or self._receive(arriving, offset, memoryview(data))
        except OSError as error:
            self.close()
            raise disk_error(error, self._part(sha256), f"object {sha256[:12]} arrives") from error

    def add_file(self, path: Path, entry: FileEntry) -> None:
        """Take a file from a folder of this machine, unless it is there already.

        Raises:
            FileMissingError, FileAlteredError: It is not there, or not what its manifest promises.
            StorageError, DeviceBusyError: As for `receive`.
        """
        if self._settled(entry):
            return
        offset, whole = _size(self._part(entry.sha256)) or 0, False
        try:
            for begin, data in _blocks(path, offset):
                whole = self.receive(entry.sha256, entry.size, begin, data)
        except FileNotFoundError as error:
            msg = f"{path} is missing, though its manifest names it; copy the folder again"
            raise FileMissingError(msg) from error
        except FileAlteredError as error:
            if offset:
                # Perhaps what was there before is to blame; it is gone.
                self.add_file(path, entry)
                return
            msg = f"{path} was altered: {error}; copy the folder again"
            raise FileAlteredError(msg) from error
        finally:
            self.close()
        if not whole:
            self.discard(entry.sha256)
            msg = f"{path} was altered: it is shorter than the {entry.size} bytes that its manifest promises"
            raise FileAlteredError(msg)

    def discard(self, sha256: str) -> None:
        """Throw an object, or what is there of it, away: it turned out not to be what its name says."""
        self.close()
        with locked(self._lock, _BUSY, wait_s=LOCK_S):
            remove_file(self._layout.object(sha256))
            remove_file(self._part(sha256))

    def collect(self, needed: Callable[[], Container[str]]) -> int:
        """Remove objects and parts that nobody needs, and return how many bytes that freed.

        An object with a second name is in a slot, and stays: it costs nothing there.

        Args:
            needed: Returns the SHA-256 of objects that an open offer refers to. It is asked under the lock, without
                which no offer is taken: one that comes meanwhile finds out what is gone.
        """
        freed = 0
        with locked(self._lock, _BUSY, wait_s=LOCK_S):
            keep = needed()
            objects = [path for path in self._objects() if path.name not in keep and path.stat().st_nlink == 1]
            parts = [path for path in self._parts() if path.name.removesuffix(PART_SUFFIX) not in keep]
            for path in (*objects, *parts):
                freed += path.stat().st_blocks * 512
                path.unlink()
            for folder in {path.parent for path in (*objects, *parts)}:
                sync_folder(folder)
        return freed

    def close(self) -> None:
        """Let go of the file that bytes were received for; a part stays for the next time."""
        if self._arriving is not None:
            self._arriving.close()
            self._arriving = None

    def _settled(self, entry: FileEntry) -> bool:
        """Say whether an object is there, after finishing one whose bytes had all come (an empty one's always have)."""
        if self.holds(entry):
            return True
        if (_size(self._part(entry.sha256)) or 0) < entry.size:
            return False
        try:
            return self.receive(entry.sha256, entry.size, entry.size, b"")
        except FileAlteredError:
            return False

    def _receive(self, arriving: ArrivingObject, offset: int, data: memoryview) -> bool:
        length = arriving.length()
        if offset > length:
            msg = f"object {arriving.sha256[:12]}: bytes from {offset} on came after {length}; offer the bundle again"
            raise TransportError(msg)
        if offset + len(data) > arriving.size or length > arriving.size:
            self._throw_away(arriving)
            msg = f"object {arriving.sha256[:12]} has {arriving.size} bytes by its manifest, but more came"
            raise FileAlteredError(msg)
        arriving.append(data[length - offset :])
        if arriving.length() < arriving.size:
            return False
        found = arriving.hexdigest()
        if found != arriving.sha256:
            self._throw_away(arriving)
            msg = f"the bytes of object {arriving.sha256[:12]} have the SHA-256 {found[:12]}"
            raise FileAlteredError(msg)
        arriving.finish(self._layout.object(arriving.sha256))
        self.close()
        return True

    def _open(self, sha256: str, size: int) -> ArrivingObject | None:
        """Return an object that is arriving: that of the last call, or another; None for one that is there."""
        last = self._arriving
        if last is not None and last.sha256 == sha256 and last.size == size and not last.ended:
            return last
        self.close()
        if not self.holds(FileEntry(sha256, size)):
            make_folder(self._layout.incoming)
            self._arriving = ArrivingObject(self._part(sha256), sha256, size)
        return self._arriving

    def _throw_away(self, arriving: ArrivingObject) -> None:
        arriving.path.unlink(missing_ok=True)
        self.close()

    def _require_room(self, size: int) -> None:
        folder = self._layout.root
        disk = os.statvfs(folder)
        lacking = size + self._reserve_bytes - disk.f_bavail * disk.f_frsize
        if size and lacking > 0:
            msg = (
                f"the disk of {folder} has {lacking} bytes too few for this bundle: {size} bytes are to come, and "
                f"{self._reserve_bytes} must stay free; free some space there, and flash again"
            )
            raise StorageError(msg)

    def _set_aside(self, sha256: str) -> int:
        """Return how many bytes of the disk a part has already, those to come included."""
        try:
            return self._part(sha256).stat().st_blocks * 512
        except FileNotFoundError:
            return 0

    def _require_digest(self, sha256: str) -> None:
        if not _DIGEST.fullmatch(sha256):
            msg = f"{sha256!r} is no SHA-256 in hexadecimal; export the bundle again"
            raise FileAlteredError(msg)

    def _part(self, sha256: str) -> Path:
        return self._layout.incoming / f"{sha256}{PART_SUFFIX}"

    def _parts(self) -> Iterator[Path]:
        return self._layout.incoming.glob(f"*{PART_SUFFIX}")

    def _objects(self) -> Iterator[Path]:
        return (self._layout.root / "objects").glob("??/*")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _blocks(path: Path, offset: int) -> Iterator[tuple[int, memoryview]]:
    """Yield a file's blocks and where they begin, in one buffer."""
    buffer = memoryview(bytearray(DATA_BYTES * 4))
    with path.open("rb", buffering=0) as stream:
        stream.seek(offset)
        while size := stream.readinto(buffer):
            yield offset, buffer[:size]
            offset += size
