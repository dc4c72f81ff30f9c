"""The wire format as one table, from which Python's packing and the C header are both made.

A message is one ZeroMQ frame: a header, then a record of fixed layout, then whatever that record counts (views,
actions, text). Little-endian throughout. Every field sits at a multiple of its own size, so that a C struct has this
layout without packing; `Record` refuses a table where one does not.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from st4vla.contracts.errors import MalformedMessageError
from st4vla.contracts.messages import MAX_BUNDLE_NAME_BYTES, MAX_JOINTS, MAX_VIEW_NAME_BYTES

MAGIC = int.from_bytes(b"ST4V", "little")
WIRE_VERSION = 2
VIEW_ALIGNMENT = 64

FLAG_ROBOT_STATE = 1
FLAG_REPLAN = 2
FLAG_WANTS_PLANS = 4
FLAG_FRESH = 8

NO_GRIPPER = -1


class Kind(enum.IntEnum):
    """What a message is."""

    HELLO = 1
    WELCOME = 2
    OBSERVATION = 3
    ACTION_CHUNK = 4
    PLAN = 5
    ROBOT_STATE = 6
    ERROR = 7
    GOODBYE = 8


#: Type in the table -> (letter of the module struct, C type, bytes). Many u8 or char are one string of bytes.
SCALARS: dict[str, tuple[str, str, int]] = {
    "u8": ("s", "uint8_t", 1),
    "char": ("s", "char", 1),
    "u16": ("H", "uint16_t", 2),
    "i16": ("h", "int16_t", 2),
    "u32": ("I", "uint32_t", 4),
    "u64": ("Q", "uint64_t", 8),
    "i64": ("q", "int64_t", 8),
    "f64": ("d", "double", 8),
}


@dataclass(frozen=True)
class Field:
    """One field of a record: name, scalar type, how many, and what it means."""

    name: str
    scalar: str
    note: str
    count: int = 1

    @property
    def size(self) -> int:
        """Bytes that the field takes."""
        return SCALARS[self.scalar][2] * self.count

    @cached_property
    def is_sequence(self) -> bool:
        """Whether it is several numbers, and not one or a string of bytes."""
        return self.count > 1 and SCALARS[self.scalar][0] != "s"


@dataclass(frozen=True)
class Record:
    """Fields in the order in which they lie in memory."""

    name: str
    note: str
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        """Refuse a layout that a C compiler would pad."""
        for field, offset in self.offsets:
            size = SCALARS[field.scalar][2]
            if offset % size:
                msg = f"{self.name}.{field.name} lies at byte {offset}, not a multiple of its size {size}"
                raise ValueError(msg)
        widest = max(SCALARS[field.scalar][2] for field in self.fields)
        if self.size % widest:
            msg = f"{self.name} has {self.size} bytes, not a multiple of its widest field ({widest})"
            raise ValueError(msg)

    @property
    def offsets(self) -> list[tuple[Field, int]]:
        """Each field with its first byte."""
        found, offset = [], 0
        for field in self.fields:
            found.append((field, offset))
            offset += field.size
        return found

    @cached_property
    def size(self) -> int:
        """Bytes that the record takes."""
        return sum(field.size for field in self.fields)

    def pack(self, frame: bytearray, at: int, **values: Any) -> int:
        """Write values by name into a frame, zeros for those that are not given; return the byte after them.

        Numbers of which there are many are sequences of as many.

        Raises:
            MalformedMessageError: A field cannot hold its value.
        """
        if self._has_sequences:
            flat: list[Any] = []
            for name, absent, is_sequence in self._slots:
                value = values.get(name, absent)
                flat.extend(value if is_sequence else (value,))
        else:
            flat = [values.get(name, absent) for name, absent, _ in self._slots]
        try:
            self._struct.pack_into(frame, at, *flat)
        except struct.error:
            self._blame(values)
            raise
        return at + self.size

    def unpack(self, frame: bytes | bytearray | memoryview, at: int) -> dict[str, Any]:
        """Return the values that lie in a frame, by name; text without the zeros that pad it."""
        found = self._struct.unpack_from(frame, at)
        if self._has_sequences:
            return self._gathered(found)
        values = dict(zip(self._names, found, strict=True))
        for name in self._texts:
            values[name] = values[name].rstrip(b"\0")
        return values

    @cached_property
    def _struct(self) -> struct.Struct:
        letters = (f"{field.count}{SCALARS[field.scalar][0]}" for field in self.fields)
        return struct.Struct("<" + "".join(letters))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields if field.scalar == "char")

    @cached_property
    def _slots(self) -> tuple[tuple[str, Any, bool], ...]:
        """Each field's name, what stands for it when it is not given, and whether it is several numbers."""
        return tuple(
            (
                field.name,
                [0] * field.count if field.is_sequence else b"" if SCALARS[field.scalar][0] == "s" else 0,
                field.is_sequence,
            )
            for field in self.fields
        )

    @cached_property
    def _has_sequences(self) -> bool:
        return any(field.is_sequence for field in self.fields)

    def _gathered(self, found: tuple[Any, ...]) -> dict[str, Any]:
        values, start = {}, 0
        for field in self.fields:
            value: Any = found[start]
            if field.is_sequence:
                value = found[start : start + field.count]
                start += field.count - 1
            values[field.name] = value
            start += 1
        for name in self._texts:
            values[name] = values[name].rstrip(b"\0")
        return values

    def _blame(self, values: Mapping[str, Any]) -> None:
        """Say which value could not be written."""
        for field in self.fields:
            code = f"<{field.count}{SCALARS[field.scalar][0]}"
            value = values.get(field.name, 0)
            try:
                struct.pack(code, *value) if field.is_sequence else struct.pack(code, value)
            except (struct.error, TypeError) as error:
                msg = f"{self.name}.{field.name} cannot hold {value!r}: {error}"
                raise MalformedMessageError(msg) from error


HEADER = Record(
    "header",
    "Begins every message.",
    (
        Field("magic", "u32", "ST4V"),
        Field("version", "u16", "wire version"),
        Field("kind", "u16", "one of the kinds"),
        Field("payload_bytes", "u32", "bytes after the header"),
        Field("crc32c", "u32", "CRC-32C of the whole message with this field zero"),
        Field("sequence", "u64", "rises by one with each message of a sender"),
        Field("sent_ns", "i64", "sender's monotonic clock at sending"),
    ),
)

OBSERVATION = Record(
    "observation",
    "Then, if its flag is set, a robot_state; then view_count views; then the instruction; then the views' bytes, "
    "each at a multiple of 64.",
    (
        Field("seed", "u64", "seeds the sampler's noise"),
        Field("deadline_ns", "i64", "how long after sent_ns an answer is of use; 0: no deadline"),
        Field("held_chunk_id", "u64", "the newest chunk that the sender has; 0: none"),
        Field("held_received_ns", "i64", "sender's monotonic clock when that chunk arrived"),
        Field("instruction_bytes", "u32", "length of the instruction"),
        Field("flags", "u32", "robot state, replan, wants plans, fresh"),
        Field("instruction_encoding", "u16", "1: UTF-8"),
        Field("view_count", "u16", "1 to 8"),
        Field("reserved", "u32", "0"),
    ),
)

VIEW = Record(
    "view",
    "One camera's picture within an observation.",
    (
        Field("capture_ns", "i64", "sender's monotonic clock at capture"),
        Field("offset", "u32", "first byte of the picture, counted from the message's first byte"),
        Field("bytes", "u32", "length of the picture"),
        Field("height", "u16", "pixels"),
        Field("width", "u16", "pixels"),
        Field("encoding", "u16", "1: RGB, 8 bits a channel, row-major; 2: JPEG"),
        Field("reserved", "u16", "0"),
        Field("name", "char", "ASCII, padded with zeros", MAX_VIEW_NAME_BYTES),
    ),
)

ROBOT_STATE = Record(
    "robot_state",
    "What the arm measures of itself.",
    (
        Field("capture_ns", "i64", "sender's monotonic clock at measurement"),
        Field("joint_count", "u32", "entries in use of the joint arrays"),
        Field("reserved", "u32", "0"),
        Field("joint_positions_rad", "f64", "radians", MAX_JOINTS),
        Field("joint_velocities_rad_s", "f64", "radians per second", MAX_JOINTS),
        Field("base_T_ee", "f64", "row-major 4 x 4, metres", 16),
        Field("gripper_width_m", "f64", "metres"),
    ),
)

ACTION_CHUNK = Record(
    "action_chunk",
    "Then horizon * action_dim float32, row-major.",
    (
        Field("chunk_id", "u64", "rises by one with each chunk of the server"),
        Field("observation_sequence", "u64", "the observation behind the chunk"),
        Field("observation_sent_ns", "i64", "its sent_ns, echoed"),
        Field("frame_capture_ns", "i64", "capture time of its oldest view, client's clock"),
        Field("start_ns", "i64", "when action 0 is due, client's clock; action k is due k * period_ns later"),
        Field("plan_id", "u64", "the plan behind the chunk"),
        Field("plan_capture_ns", "i64", "capture time of that plan's oldest view, client's clock"),
        Field("seed", "u64", "the seed that was used"),
        Field("received_ns", "i64", "server's clock when the observation arrived"),
        Field("inference_ns", "i64", "how long System 1 took"),
        Field("frame_age_ns", "i64", "age of the frame at sending, without the time on the wire"),
        Field("plan_age_ns", "i64", "age of the plan's frame at sending, without the time on the wire"),
        Field("period_ns", "i64", "time between two actions"),
        Field("frames_superseded", "u64", "frames of this client that a newer one replaced unseen"),
        Field("horizon", "u16", "T, actions"),
        Field("action_dim", "u16", "A, numbers in an action"),
        Field("gripper_index", "i16", "the gripper's dimension; -1: none"),
        Field("representation", "u16", "1: end-effector delta; 2: joint delta; 3: joint position"),
        Field("frozen_steps", "u16", "leading actions that were held to those of the chunk before"),
        Field("pace", "u16", "1: run; 2: slow, the actions are scaled already"),
        Field("reserved", "u32", "0"),
    ),
)

PLAN = Record(
    "plan",
    "Notice that System 2 has finished a plan.",
    (
        Field("plan_id", "u64", "rises by one with each plan of the server"),
        Field("observation_sequence", "u64", "the observation it was made from"),
        Field("frame_capture_ns", "i64", "capture time of its oldest view, client's clock"),
        Field("inference_ns", "i64", "how long System 2 took"),
        Field("token_count", "u32", "prompt length, image tokens included"),
        Field("reason", "u16", "1: first; 2: instruction; 3: period; 4: request; 5: change"),
        Field("reserved", "u16", "0"),
    ),
)

WELCOME = Record(
    "welcome",
    "What a server wants and gives; then view_count welcome_views.",
    (
        Field("period_ns", "i64", "time between two actions of a chunk"),
        Field("frame_slow_ns", "i64", "age of a frame from which a player slows down; 0: none"),
        Field("frame_hold_ns", "i64", "from which it holds"),
        Field("frame_stop_ns", "i64", "from which it stops"),
        Field("plan_slow_ns", "i64", "the same for the age of a plan's frame"),
        Field("plan_hold_ns", "i64", "from which it holds"),
        Field("plan_stop_ns", "i64", "from which it stops"),
        Field("horizon", "u16", "T, actions in a chunk"),
        Field("action_dim", "u16", "A, numbers in an action"),
        Field("gripper_index", "i16", "the gripper's dimension; -1: none"),
        Field("representation", "u16", "1: end-effector delta; 2: joint delta; 3: joint position"),
        Field("view_count", "u16", "1 to 8"),
        Field("health", "u16", "1: starting; 2: ready; 3: degraded"),
        Field("reserved", "u32", "0"),
        Field("bundle_digest", "u8", "SHA-256 of the bundle's manifest", 32),
        Field("bundle_name", "char", "UTF-8, padded with zeros", MAX_BUNDLE_NAME_BYTES),
    ),
)

WELCOME_VIEW = Record(
    "welcome_view",
    "A view that the server wants.",
    (
        Field("height", "u16", "pixels"),
        Field("width", "u16", "pixels"),
        Field("reserved", "u32", "0"),
        Field("name", "char", "ASCII, padded with zeros", MAX_VIEW_NAME_BYTES),
    ),
)

ERROR = Record(
    "error",
    "Why a message was refused; then message_bytes of UTF-8.",
    (
        Field("observation_sequence", "u64", "the message it answers; 0: it could not be read"),
        Field("message_bytes", "u32", "length of the text"),
        Field("code", "u16", "one of the error codes"),
        Field("reserved", "u16", "0"),
    ),
)

RECORDS = (HEADER, OBSERVATION, VIEW, ROBOT_STATE, ACTION_CHUNK, PLAN, WELCOME, WELCOME_VIEW, ERROR)
