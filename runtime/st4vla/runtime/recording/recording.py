"""A session written to a file as it happens, by a thread of its own.

Nothing here holds up the systems: what they leave is references in a queue of bounded size. When the disk cannot keep
up, is full or fails, the recording ends where it is and says why; service goes on.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from mcap.writer import CompressionType
from typing_extensions import Self

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import StorageError
from st4vla.contracts.messages import ActionChunk, ErrorReply, ImageEncoding, Message, Plan, View
from st4vla.runtime.policy import PlanTensors
from st4vla.runtime.recording import describing, records
from st4vla.runtime.recording.header import RecordingEnd, RecordingHeader
from st4vla.runtime.recording.journal import Note, Submitted
from st4vla.runtime.recording.mcap_file import McapFile
from st4vla.runtime.recording.reserved_file import ReservedFile, Write
from st4vla.runtime.recording.schemas import Timestamp

LOG = logging.getLogger(__name__)

JOURNAL_TOPIC = "/journal"
#: How often the writer looks for something to write; what a killed process has not written is at most
#: `FLUSH_S` and this old.
POLL_S, FLUSH_S = 0.02, 0.25
CLOSE_S = 20.0
#: What may wait to be written: three seconds of two raw 224-pixel views at 60 Hz.
WAITING_BYTES = 64 << 20
#: What anything counts that holds no picture and no plan.
SMALL_BYTES = 1 << 10


class Recording:
    """A recording under way, used as a context manager.

    Args:
        path: The file; it must not exist.
        header: What it says of itself.
        limit_bytes: It ends at this size; 0 for no limit.
        waiting_bytes: It ends when more than this waits to be written.
        compression: Of the file's chunks.
        write: Writes to a descriptor as `os.write` does.

    Raises:
        StorageError: The file cannot be made.

    Attributes:
        path: The file.
        failed: Why recording has ended before its time, or None.
        limited: It has ended at its limit, which is no failure; `failed` stays None.
        lost: What happened since then, in calls and messages that are not in the file.
    """

    def __init__(
        self,
        path: Path,
        header: RecordingHeader,
        *,
        limit_bytes: int = 0,
        waiting_bytes: int = WAITING_BYTES,
        compression: CompressionType = CompressionType.LZ4,
        write: Write = os.write,
    ) -> None:
        self.path = path
        self.failed: str | None = None
        self.limited = False
        self.lost = 0
        self._limit_bytes, self._most_waiting = limit_bytes, waiting_bytes
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, Note | tuple[bytes, Message], int]] = deque()
        self._waiting_bytes = 0
        self._stopping = threading.Event()
        self._ended = False
        self._slots: dict[bytes, int] = {}
        self._calls = self._frames = 0
        if path.exists():
            msg = f"{path} is there already; a recording never replaces a file: name another one, or a folder"
            raise StorageError(msg)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = ReservedFile(path, write)
            self._mcap = McapFile(self._file, header, compression)
        except OSError as error:
            msg = f"cannot record to {path}: {error.strerror}"
            raise StorageError(msg) from error
        self._thread = threading.Thread(target=self._run, name="st4vla_record", daemon=True)
        self._thread.start()

    @property
    def written_bytes(self) -> int:
        """Size of the file."""
        return self._mcap.size

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be written."""
        return self._waiting_bytes

    def why_failed(self) -> str | None:
        """Return why recording has failed and what to do about it, or None."""
        if self.failed is None:
            return None
        return (
            f"the session is not recorded any more ({self.failed}): make room, and restart the server to record again"
        )

    def summary(self) -> dict[str, Any]:
        """Return what became of it."""
        return {
            "file": str(self.path),
            "bytes": self.written_bytes,
            "failed": self.failed,
            "limited": self.limited,
            "lost": self.lost,
        }

    def clock_ns(self) -> int:
        """Return this machine's monotonic clock."""
        return monotonic_ns()

    def note(self, note: Note) -> None:
        """Take a call of the scheduler in; never blocks."""
        size, given = SMALL_BYTES, note.given
        if isinstance(given, Submitted):
            size += sum(view.data.nbytes for view in given.observation.views)
        elif isinstance(given, PlanTensors):
            size += sum(array.nbytes for array in given.tensors.values())
        self._put(note.time_ns, note, size)

    def delivered(self, client: bytes, message: Message) -> None:
        """Take in what goes out to a client; never blocks."""
        self._put(monotonic_ns(), (client, message), SMALL_BYTES)

    def close(self) -> None:
        """Write what waits, and end the file; a disk that does not answer is not waited for."""
        self._stopping.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._fail(f"{self.path} was not ended within {CLOSE_S:g} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, time_ns: int, entry: Note | tuple[bytes, Message], size: int) -> None:
        with self._lock:
            if self.failed is None and self._waiting_bytes + size > self._most_waiting:
                self.failed = f"the disk is too slow: {self._waiting_bytes / 1e6:.0f} MB waited to be written"
            if self.failed is not None or self._ended:
                self.lost += 1
                return
            self._waiting.append((time_ns, entry, size))
            self._waiting_bytes += size

    def _run(self) -> None:
        try:
            self._write_all()
            if self._mcap.full:
                self._fail(f"the disk is full: {self._mcap.full.strerror}")
        except Exception as error:
            # Whatever it is, it must cost the recording only.
            self._fail(f"{self.path} cannot be written: {error}")
        with self._lock:
            self.lost += len(self._waiting)
            self._waiting.clear()
            self._waiting_bytes, self._ended = 0, True
        cut = self.failed or (f"it has reached its limit of {self._limit_bytes / 1e9:g} GB" if self.limited else "")
        if cut:
            LOG.log(logging.INFO if self.limited else logging.ERROR, "recording has ended, service goes on: %s", cut)
        try:
            self._mcap.finish(RecordingEnd(self._calls, cut))
        except Exception as error:
            self._fail(f"{self.path} cannot be ended: {error}")
        self._file.close()

    def _write_all(self) -> None:
        flushed_s = time.monotonic()
        while not self._mcap.full:
            last = self._stopping.wait(POLL_S) or self.failed is not None
            self._write_waiting()
            if last or self.limited:
                return
            if time.monotonic() - flushed_s > FLUSH_S:
                self._mcap.flush()
                flushed_s = time.monotonic()

    def _write_waiting(self) -> None:
        while self._waiting and not self._mcap.full:
            if self._limit_bytes and self._mcap.size > self._limit_bytes:
                self.limited = True
                return
            with self._lock:
                time_ns, entry, size = self._waiting.popleft()
                self._waiting_bytes -= size
            if isinstance(entry, Note):
                self._write_call(entry)
            else:
                self._write_message(*entry, time_ns)

    def _fail(self, why: str) -> None:
        with self._lock:
            self.failed = self.failed or why

    def _write_call(self, note: Note) -> None:
        """Write a call, and before it what it refers to."""
        if isinstance(note.given, Submitted):
            self._frames += 1
            for view in note.given.observation.views:
                self._write_view(view, note)
            state = describing.describe_state(note.given.observation)
            if state is not None:
                topic = describing.state_topic(note.slot)
                self._mcap.add(records.ROBOT_STATE, topic, state, note.time_ns, self._frames)
        self._follow(note)
        call = describing.describe(note, self._frames)
        self._mcap.add(records.CALL, JOURNAL_TOPIC, call, note.time_ns, note.number)
        self._calls = note.number

    def _follow(self, note: Note) -> None:
        """Keep the numbers that clients have in topics."""
        if note.name == "admit" and note.answer is True and self._slots.get(note.client) != note.slot:
            self._slots = {client: slot for client, slot in self._slots.items() if slot != note.slot}
            self._slots[note.client] = note.slot
        elif note.name == "leave":
            self._slots.pop(note.client, None)

    def _write_view(self, view: View, note: Note) -> None:
        topic = describing.view_topic(note.slot, view.name, view.encoding)
        stamp, data = Timestamp(self._mcap.wall_ns(note.time_ns)), view.data.tobytes()
        if view.encoding is ImageEncoding.JPEG:
            image = records.CompressedImage(stamp, data, "jpeg", view.name)
            self._mcap.add(records.COMPRESSED_IMAGE, topic, image, note.time_ns, self._frames)
        else:
            raw = records.RawImage(stamp, view.width, view.height, "rgb8", view.width * 3, data, view.name)
            self._mcap.add(records.RAW_IMAGE, topic, raw, note.time_ns, self._frames)

    def _write_message(self, client: bytes, message: Message, time_ns: int) -> None:
        """Write what went out; slot 0 is a client that had left by then."""
        root = f"/clients/{self._slots.get(client, 0)}"
        if isinstance(message, ActionChunk):
            self._mcap.add(records.ACTION_CHUNK, f"{root}/chunks", describing.describe_chunk(message), time_ns)
        elif isinstance(message, Plan):
            self._mcap.add(records.PLAN, f"{root}/plans", describing.describe_plan(message), time_ns)
        elif isinstance(message, ErrorReply):
            self._mcap.add(records.ERROR_REPLY, f"{root}/errors", describing.describe_error(message), time_ns)
