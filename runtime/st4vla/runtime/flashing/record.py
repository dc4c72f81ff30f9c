"""What happened to a device and why: `record.jsonl`, a JSON object a line, for people and for the next start."""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from st4vla.contracts.device_status import Step
from st4vla.contracts.errors import StorageError
from st4vla.runtime.flashing.durable import sync_folder

#: A record of this size becomes the old one, and a new one begins.
ROTATE_BYTES = 4 << 20
OLD_SUFFIX = ".1"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RecordLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One event.

    Attributes:
        time: UTC, ISO 8601, by the device's clock, which may be wrong.
        monotonic_ns: Since that boot; this is never wrong.
        boot_id: Which boot.
        event: What happened, in a word.
        attempt: Name of the flash that it belongs to, or empty.
        step: Which step of it.
        bundle_name: What was flashed.
        bundle_digest: SHA-256 of its manifest.
        text: Why, and all else, for people.
    """

    time: str
    monotonic_ns: int
    boot_id: str
    event: str
    attempt: str = ""
    step: Step | None = None
    bundle_name: str = ""
    bundle_digest: str = ""
    text: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RecordLine)


def utc_now() -> str:
    """Return the time by the device's clock: UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Record:
    """A device's record; several processes may write to it.

    Args:
        path: Its file. The one before it lies beside it.
        rotate_bytes: From what size on a new one is begun.
    """

    def __init__(self, path: Path, rotate_bytes: int = ROTATE_BYTES) -> None:
        self._path, self._rotate_bytes = path, rotate_bytes
        self._old = path.with_name(path.name + OLD_SUFFIX)
        try:
            self._boot_id = _BOOT_ID.read_text().strip()
        except OSError:
            self._boot_id = ""

    def write(
        self,
        event: str,
        *,
        attempt: str = "",
        step: Step | None = None,
        bundle_name: str = "",
        bundle_digest: str = "",
        text: str = "",
    ) -> None:
        """Append a line; it is on disk when this returns.

        Raises:
            StorageError: It cannot be written.
        """
        line = RecordLine(
            utc_now(), time.monotonic_ns(), self._boot_id, event, attempt, step, bundle_name, bundle_digest, text
        )
        try:
            self._append(_encoder.encode(line) + b"\n")
        except OSError as error:
            msg = f"{self._path} cannot be written: {error.strerror}; free some space there"
            raise StorageError(msg) from error

    def read(self, last: int | None = None) -> list[RecordLine]:
        """Return the newest so many lines, or all, the oldest first. A line that a power cut tore is left out."""
        lines: deque[RecordLine] = deque(maxlen=last)
        for path in (self._old, self._path):
            lines.extend(_lines(path))
        return list(lines)

    def _append(self, line: bytes) -> None:
        descriptor = self._open()
        try:
            size = os.fstat(descriptor).st_size
            if size == 0:
                sync_folder(self._path.parent)
            elif os.pread(descriptor, 1, size - 1) != b"\n":
                # What a power cut tore stays a line of its own.
                line = b"\n" + line
            try:
                while line:
                    line = line[os.write(descriptor, line) :]
            except OSError:
                os.ftruncate(descriptor, size)
                raise
            os.fsync(descriptor)
            if os.fstat(descriptor).st_size > self._rotate_bytes:
                self._path.replace(self._old)
                sync_folder(self._path.parent)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        """Return a descriptor of the record, locked, and not of one that another process has just put aside."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    return descriptor
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


def _lines(path: Path) -> Iterator[RecordLine]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data.splitlines():
        try:
            yield _decoder.decode(line)
        except msgspec.MsgspecError:
            continue
