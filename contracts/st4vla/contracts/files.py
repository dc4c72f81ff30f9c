"""Files that a power cut cannot halve, and manifests that say what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from st4vla.contracts.errors import FileAlteredError, FileMissingError, ManifestError

M = TypeVar("M", bound=msgspec.Struct)


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a manifest promises of one file.

    Attributes:
        sha256: Hexadecimal digest of its bytes.
        size: Its length in bytes.
    """

    sha256: str
    size: int


def file_entry(path: Path) -> FileEntry:
    """Return the digest and size of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256") if hasattr(hashlib, "file_digest") else _digest(stream)
    return FileEntry(digest.hexdigest(), path.stat().st_size)


def verify_files(folder: Path, files: Mapping[str, FileEntry]) -> None:
    """Check every file of a manifest.

    Args:
        folder: Where the manifest lies.
        files: Relative path, with forward slashes, to what is promised.

    Raises:
        ManifestError: A path that leads out of the folder.
        FileMissingError: A file is not there.
        FileAlteredError: A file has another size or digest.
    """
    for name, promised in files.items():
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            msg = f"{folder}: the manifest names {name!r}, which leads out of the folder"
            raise ManifestError(msg)
        path = folder / relative
        if not path.is_file():
            msg = f"{path} is missing, though the manifest beside it names it; copy the folder again"
            raise FileMissingError(msg)
        actual = file_entry(path)
        if actual != promised:
            msg = (
                f"{path} was altered: {actual.size} bytes, sha256 {actual.sha256[:12]}..., expected {promised.size} "
                f"bytes, {promised.sha256[:12]}...; copy the folder again"
            )
            raise FileAlteredError(msg)


@contextlib.contextmanager
def replaced_file(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a path beside `path` to write to; when the block ends without an error, that file takes its place.

    Any instant shows either the old or the new file, also across a power cut; after an error the old one is as it was.
    Until it has its place and its `mode`, only its owner can read it.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # Opened again: a library may have put another file in this place.
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that any instant shows either its old or its new bytes, also across a power cut."""
    with replaced_file(path, mode) as temporary:
        temporary.write_bytes(data)


def write_manifest(path: Path, manifest: msgspec.Struct) -> None:
    """Write a manifest as indented JSON, atomically."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def read_manifest(path: Path, kind: type[M], format_version: int) -> M:
    """Read a manifest of a known format version.

    Raises:
        ManifestError: Missing, not JSON, of another format version, or with fields that do not fit.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        msg = f"{path} is not there; is {path.parent} the right folder?"
        raise ManifestError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be read: {error}"
        raise ManifestError(msg) from error
    try:
        found = msgspec.json.decode(data, type=_Version).format_version
        if found != format_version:
            msg = f"{path} has format version {found}; this build reads {format_version}"
            raise ManifestError(msg)
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError) as error:
        msg = f"{path} is not a valid manifest: {error}"
        raise ManifestError(msg) from error


class _Version(msgspec.Struct):
    format_version: int


def _digest(stream: object) -> hashlib._Hash:
    """Hash a stream where `hashlib.file_digest` (Python 3.11) is missing."""
    digest = hashlib.sha256()
    for block in iter(lambda: stream.read(1 << 20), b""):  # type: ignore[attr-defined]
        digest.update(block)
    return digest
