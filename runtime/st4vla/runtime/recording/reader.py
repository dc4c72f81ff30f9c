"""What a recording holds, in the order in which it was written."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec
import numpy as np
from crc32c import crc32c
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Message, Metadata, Schema
from mcap.stream_reader import breakup_chunk

from st4vla.contracts import messages
from st4vla.contracts.errors import RecordingError
from st4vla.contracts.messages import ImageEncoding, Observation, View
from st4vla.runtime.recording import records
from st4vla.runtime.recording.header import END_NAME, HEADER_NAME, RECORDING_FORMAT, RecordingEnd, RecordingHeader
from st4vla.runtime.recording.records import (
    ActionChunk,
    Call,
    CompressedImage,
    FrameRecord,
    RawImage,
    RobotState,
    ViewRecord,
)

MAGIC = b"\x89MCAP0\r\n"
_PREFIX = struct.Struct("<BQ")
#: What a replay reads; other messages are for people.
SCHEMAS = {
    schema.name: schema
    for schema in (
        records.RAW_IMAGE,
        records.COMPRESSED_IMAGE,
        records.ROBOT_STATE,
        records.ACTION_CHUNK,
        records.CALL,
    )
}

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True)
class RecordedCall:
    """A call of the scheduler, and the observation that it submits or None."""

    call: Call
    observation: Observation | None = None


Event = RecordedCall | ActionChunk


class RecordingReader:
    """A recording on disk.

    Args:
        path: The file.

    Raises:
        RecordingError: It is not there, none of ours, or of a format version that this build does not read.

    Attributes:
        header: What it says of itself.
        end: What it says last; None until all was read, and for a recording whose recorder was killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end: RecordingEnd | None = None
        for record in self._records():
            if isinstance(record, Metadata) and record.name == HEADER_NAME:
                self.header = self._header(record.metadata)
                return
            if not isinstance(record, Metadata):
                break
        msg = f"{path} is no recording of `st4vla serve --record`: it does not begin with {HEADER_NAME!r}"
        raise RecordingError(msg)

    def events(self) -> Iterator[Event]:
        """Yield calls and chunks in the order in which they were written.

        Raises:
            RecordingError: Something was altered; the message says what. What was cut off at the end is no error.
        """
        schemas: dict[int, str] = {}
        channels: dict[int, tuple[str, str]] = {}
        waiting: dict[tuple[str, int], Any] = {}
        last = 0
        for record in self._records():
            if isinstance(record, Schema):
                schemas[record.id] = record.name
            elif isinstance(record, Channel):
                channels[record.id] = (record.topic, schemas.get(record.schema_id, ""))
            elif isinstance(record, Metadata) and record.name == END_NAME:
                self.end = self._struct(record.metadata, RecordingEnd)
            elif isinstance(record, Message):
                topic, name = channels[record.channel_id]
                if name not in SCHEMAS:
                    continue
                message = self._decoded(topic, name, record.data)
                if isinstance(message, Call):
                    last = self._next(message, last)
                    observation = None if message.frame is None else self._observation(message, message.frame, waiting)
                    waiting.clear()
                    yield RecordedCall(message, observation)
                elif isinstance(message, ActionChunk):
                    yield message
                else:
                    waiting[topic, record.sequence] = message

    def _records(self) -> Iterator[Any]:
        try:
            with self.path.open("rb") as stream:
                yield from _walk(stream, self.path)
        except OSError as error:
            msg = f"{self.path} cannot be read: {error.strerror}"
            raise RecordingError(msg) from error

    def _decoded(self, topic: str, name: str, data: bytes) -> Any:
        try:
            return SCHEMAS[name].decode(data)
        except ValueError as error:
            msg = f"{self.path}: a message on {topic} was altered: {error}"
            raise RecordingError(msg) from error

    def _header(self, metadata: Mapping[str, str]) -> RecordingHeader:
        found = metadata.get("format_version")
        if found != str(RECORDING_FORMAT):
            msg = f"{self.path} is a recording of format version {found}; this build reads {RECORDING_FORMAT}"
            raise RecordingError(msg)
        return self._struct(metadata, RecordingHeader)

    def _struct(self, metadata: Mapping[str, str], kind: type[S]) -> S:
        try:
            return msgspec.convert({name: msgspec.json.decode(value) for name, value in metadata.items()}, kind)
        except (msgspec.DecodeError, ValueError) as error:
            version = metadata.get("st4vla_version", "an unknown version")
            msg = f"{self.path} was written by st4vla {version} and says of itself what this one cannot read: {error}"
            raise RecordingError(msg) from error

    def _next(self, call: Call, last: int) -> int:
        if call.number != last + 1:
            msg = f"{self.path}: call {call.number} follows call {last}; calls were taken out or sorted anew"
            raise RecordingError(msg)
        return call.number

    def _observation(self, call: Call, frame: FrameRecord, waiting: Mapping[tuple[str, int], Any]) -> Observation:
        key = frame.number % 2**32
        state = waiting.get((frame.state_topic, key))
        return Observation(
            sequence=frame.sequence,
            views=tuple(self._view(call, view, waiting.get((view.topic, key))) for view in frame.views),
            instruction=frame.instruction,
            seed=frame.seed,
            deadline_ns=frame.deadline_ns,
            held_chunk_id=frame.held_chunk_id,
            held_received_ns=frame.held_received_ns,
            robot_state=_state(state) if isinstance(state, RobotState) else None,
            replan=frame.replan,
            wants_plans=frame.wants_plans,
            fresh=frame.fresh,
            sent_ns=frame.sent_ns,
        )

    def _view(self, call: Call, view: ViewRecord, image: Any) -> View:
        where = (
            f"{self.path}: call {call.number}: frame {call.frame.sequence if call.frame else 0} of client {call.slot}"
        )
        if not isinstance(image, RawImage | CompressedImage):
            msg = f"{where}: the picture of view {view.name!r} is not in the file"
            raise RecordingError(msg)
        if crc32c(image.data) != view.crc32c:
            msg = f"{where}: the picture of view {view.name!r} is not the one that was received: it was altered"
            raise RecordingError(msg)
        data = np.frombuffer(image.data, np.uint8)
        encoding = ImageEncoding[view.encoding.upper()]
        return View(view.name, view.capture_ns, view.height, view.width, encoding, data)


def _state(state: RobotState) -> messages.RobotState:
    return messages.RobotState(
        state.capture_ns,
        state.joint_positions_rad,
        state.joint_velocities_rad_s,
        state.base_T_ee.reshape(4, 4),
        state.gripper_width_m,
    )


def _walk(stream: BinaryIO, path: Path) -> Iterator[Any]:
    """Yield schemas, channels, messages and metadata, up to the end or to where the file was cut off."""
    if stream.read(len(MAGIC)) != MAGIC:
        msg = f"{path} is no MCAP file"
        raise RecordingError(msg)
    while True:
        offset = stream.tell()
        prefix = stream.read(_PREFIX.size)
        if len(prefix) < _PREFIX.size:
            return
        opcode, length = _PREFIX.unpack(prefix)
        # What is left of the file may be less than what its last record announces.
        body = stream.read(min(length, path.stat().st_size))
        if len(body) < length or opcode == Opcode.DATA_END:
            return
        data = ReadDataStream(BytesIO(body))
        try:
            found = _taken_apart(opcode, data)
        except Exception as error:
            # Each compression has errors of its own.
            msg = f"{path}: the chunk of messages at byte {offset} was altered: {error}"
            raise RecordingError(msg) from error
        yield from found


def _taken_apart(opcode: int, data: ReadDataStream) -> list[Any]:
    if opcode == Opcode.METADATA:
        return [Metadata.read(data)]
    if opcode == Opcode.CHUNK:
        return list(breakup_chunk(Chunk.read(data), validate_crc=True))
    return []
