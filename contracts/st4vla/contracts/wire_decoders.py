"""Records of a frame to messages; every count, offset and length is checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from st4vla.contracts import wire_table as table
from st4vla.contracts.errors import MalformedMessageError, TruncatedMessageError
from st4vla.contracts.messages import (
    MAX_IMAGE_SIDE,
    MAX_INSTRUCTION_BYTES,
    MAX_JOINTS,
    MAX_VIEW_NAME_BYTES,
    MAX_VIEWS,
    ActionChunk,
    ActionRepresentation,
    ErrorCode,
    ErrorReply,
    Goodbye,
    Health,
    Hello,
    ImageEncoding,
    InstructionEncoding,
    Message,
    Observation,
    Plan,
    PlanReason,
    RobotState,
    StateReport,
    View,
    Welcome,
    WelcomeView,
)
from st4vla.contracts.staleness import AgeBounds, Pace, Staleness
from st4vla.contracts.wire_table import Kind

Buffer = bytes | bytearray | memoryview


class Reader:
    """Take records and bytes off a frame in order, each checked against its end."""

    def __init__(self, frame: Buffer) -> None:
        self.frame = frame
        self.offset = table.HEADER.size

    def record(self, record: table.Record) -> Any:
        """Take the next record off the frame."""
        start = self.advance(record.size, record.name)
        return record.unpack(self.frame, start)

    def advance(self, size: int, what: str) -> int:
        """Pass `size` bytes by and return the first's position; `what` names them in the error."""
        start, end = self.offset, self.offset + size
        if end > len(self.frame):
            msg = f"{what} of {size} bytes at byte {start} ends beyond the message's {len(self.frame)} bytes"
            raise TruncatedMessageError(msg)
        self.offset = end
        return start

    def end(self) -> None:
        """Check that nothing is left."""
        if self.offset != len(self.frame):
            msg = f"{len(self.frame) - self.offset} bytes after the message's last field"
            raise MalformedMessageError(msg)


def _enum(kind: Any, value: int, what: str) -> Any:
    try:
        return kind(int(value))
    except ValueError:
        allowed = ", ".join(f"{entry.value} ({entry.name})" for entry in kind)
        msg = f"unknown {what} {int(value)}; allowed are {allowed}"
        raise MalformedMessageError(msg) from None


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        msg = f"{what} is not UTF-8: {error}"
        raise MalformedMessageError(msg) from None


def _decode_state(reader: Reader) -> RobotState:
    row = reader.record(table.ROBOT_STATE)
    joints = int(row["joint_count"])
    if joints > MAX_JOINTS:
        msg = f"robot state with {joints} joints; at most {MAX_JOINTS} are allowed"
        raise MalformedMessageError(msg)
    state = RobotState(
        capture_ns=int(row["capture_ns"]),
        joint_positions_rad=np.array(row["joint_positions_rad"][:joints], np.float64),
        joint_velocities_rad_s=np.array(row["joint_velocities_rad_s"][:joints], np.float64),
        base_T_ee=np.array(row["base_T_ee"], np.float64).reshape(4, 4),
        gripper_width_m=float(row["gripper_width_m"]),
    )
    arrays = (state.joint_positions_rad, state.joint_velocities_rad_s, state.base_T_ee)
    if not (all(np.isfinite(array).all() for array in arrays) and math.isfinite(state.gripper_width_m)):
        msg = "robot state holds NaN or infinity; every number must be finite"
        raise MalformedMessageError(msg)
    return state


class _ViewRow(NamedTuple):
    """A view's record: all of it but its bytes, which begin at `start`."""

    name: str
    capture_ns: int
    height: int
    width: int
    encoding: ImageEncoding
    start: int
    size: int


def _decode_view(reader: Reader) -> _ViewRow:
    row = reader.record(table.VIEW)
    raw_name, height, width, start, size = row["name"], row["height"], row["width"], row["offset"], row["bytes"]
    name = raw_name.decode("ascii", "replace")
    encoding = _enum(ImageEncoding, row["encoding"], "image encoding")
    if not raw_name or not name.isascii():
        msg = f"view name {raw_name!r} must be 1 to {MAX_VIEW_NAME_BYTES} ASCII characters"
        raise MalformedMessageError(msg)
    if not (1 <= height <= MAX_IMAGE_SIDE and 1 <= width <= MAX_IMAGE_SIDE):
        msg = f"view {name!r} is {height} x {width} pixels; each side may have 1 to {MAX_IMAGE_SIDE}"
        raise MalformedMessageError(msg)
    if encoding is ImageEncoding.RGB8 and size != height * width * 3:
        msg = f"view {name!r} of {height} x {width} needs {height * width * 3} bytes of RGB; got {size}"
        raise MalformedMessageError(msg)
    if size == 0 or start < reader.offset or start + size > len(reader.frame):
        msg = f"view {name!r} lies at bytes {start} to {start + size} of a message of {len(reader.frame)}"
        raise MalformedMessageError(msg)
    return _ViewRow(name, row["capture_ns"], height, width, encoding, start, size)


def _views(frame: Buffer, rows: list[_ViewRow]) -> tuple[View, ...]:
    """Return views into a frame; those that fill a stretch of it are parts of one array, which is that stretch."""
    first = end = rows[0].start
    for row in rows:
        if row.start != end:
            data = [np.frombuffer(frame, np.uint8, row.size, row.start) for row in rows]
            break
        end += row.size
    else:
        stretch: npt.NDArray[np.uint8] = np.frombuffer(frame, np.uint8, end - first, first)
        data = [stretch[row.start - first : row.start - first + row.size] for row in rows]
    return tuple(View(*row[:5], each) for row, each in zip(rows, data, strict=True))


def _decode_observation(reader: Reader, sequence: int, sent_ns: int) -> Observation:
    row = reader.record(table.OBSERVATION)
    _enum(InstructionEncoding, row["instruction_encoding"], "instruction encoding")
    view_count, size, flags = row["view_count"], row["instruction_bytes"], row["flags"]
    if not 1 <= view_count <= MAX_VIEWS:
        msg = f"observation with {view_count} views; 1 to {MAX_VIEWS} are allowed"
        raise MalformedMessageError(msg)
    if size > MAX_INSTRUCTION_BYTES:
        msg = f"instruction of {size} bytes; at most {MAX_INSTRUCTION_BYTES} are allowed"
        raise MalformedMessageError(msg)
    if row["deadline_ns"] < 0:
        msg = f"deadline_ns {row['deadline_ns']}; it must be 0 (none) or positive"
        raise MalformedMessageError(msg)
    state = _decode_state(reader) if flags & table.FLAG_ROBOT_STATE else None
    rows = [_decode_view(reader) for _ in range(view_count)]
    start = reader.advance(size, "instruction")
    free = reader.offset
    for view in sorted(rows, key=lambda view: view.start):
        if view.start < free:
            msg = f"view {view.name!r} at byte {view.start} overlaps what comes before it, which ends at byte {free}"
            raise MalformedMessageError(msg)
        free = view.start + view.size
    return Observation(
        sequence=sequence,
        views=_views(reader.frame, rows),
        instruction=_text(bytes(memoryview(reader.frame)[start : start + size]), "instruction"),
        seed=row["seed"],
        deadline_ns=row["deadline_ns"],
        held_chunk_id=row["held_chunk_id"],
        held_received_ns=row["held_received_ns"],
        robot_state=state,
        replan=bool(flags & table.FLAG_REPLAN),
        wants_plans=bool(flags & table.FLAG_WANTS_PLANS),
        fresh=bool(flags & table.FLAG_FRESH),
        sent_ns=sent_ns,
    )


def _decode_chunk(reader: Reader, sequence: int, sent_ns: int) -> ActionChunk:
    row = reader.record(table.ACTION_CHUNK)
    horizon, action_dim = int(row["horizon"]), int(row["action_dim"])
    start = reader.advance(horizon * action_dim * 4, "actions")
    reader.end()
    actions = np.frombuffer(reader.frame, "<f4", horizon * action_dim, start).reshape(horizon, action_dim)
    if horizon == 0 or action_dim == 0 or not np.isfinite(actions).all():
        msg = f"chunk of {horizon} x {action_dim} actions; it must hold at least one and every number must be finite"
        raise MalformedMessageError(msg)
    gripper = int(row["gripper_index"])
    if not table.NO_GRIPPER <= gripper < action_dim or int(row["period_ns"]) <= 0:
        msg = f"gripper_index {gripper} of {action_dim} dimensions, period_ns {row['period_ns']}"
        raise MalformedMessageError(msg)
    return ActionChunk(
        chunk_id=int(row["chunk_id"]),
        actions=actions,
        period_ns=int(row["period_ns"]),
        representation=_enum(ActionRepresentation, row["representation"], "action representation"),
        gripper_index=None if gripper == table.NO_GRIPPER else gripper,
        observation_sequence=int(row["observation_sequence"]),
        observation_sent_ns=int(row["observation_sent_ns"]),
        frame_capture_ns=int(row["frame_capture_ns"]),
        start_ns=int(row["start_ns"]),
        plan_id=int(row["plan_id"]),
        plan_capture_ns=int(row["plan_capture_ns"]),
        seed=int(row["seed"]),
        received_ns=int(row["received_ns"]),
        inference_ns=int(row["inference_ns"]),
        frame_age_ns=int(row["frame_age_ns"]),
        plan_age_ns=int(row["plan_age_ns"]),
        frozen_steps=int(row["frozen_steps"]),
        pace=_enum(Pace, row["pace"], "pace"),
        frames_superseded=int(row["frames_superseded"]),
        sequence=sequence,
        sent_ns=sent_ns,
    )


def _decode_plan(reader: Reader, sequence: int, sent_ns: int) -> Plan:
    row = reader.record(table.PLAN)
    reader.end()
    return Plan(
        plan_id=int(row["plan_id"]),
        observation_sequence=int(row["observation_sequence"]),
        frame_capture_ns=int(row["frame_capture_ns"]),
        inference_ns=int(row["inference_ns"]),
        token_count=int(row["token_count"]),
        reason=_enum(PlanReason, row["reason"], "plan reason"),
        sequence=sequence,
        sent_ns=sent_ns,
    )


def _staleness(row: Any) -> Staleness:
    try:
        frame, plan = (
            AgeBounds(*(int(row[f"{of}_{bound}_ns"]) for bound in ("slow", "hold", "stop"))) for of in ("frame", "plan")
        )
    except ValueError as error:
        raise MalformedMessageError(str(error)) from None
    return Staleness(frame, plan)


def _decode_welcome(reader: Reader, sequence: int, sent_ns: int) -> Welcome:
    row = reader.record(table.WELCOME)
    view_count, gripper = int(row["view_count"]), int(row["gripper_index"])
    if not 1 <= view_count <= MAX_VIEWS:
        msg = f"welcome with {view_count} views; 1 to {MAX_VIEWS} are allowed"
        raise MalformedMessageError(msg)
    views = []
    for _ in range(view_count):
        view = reader.record(table.WELCOME_VIEW)
        name = _text(bytes(view["name"]), "view name")
        views.append(WelcomeView(name, int(view["height"]), int(view["width"])))
    reader.end()
    return Welcome(
        bundle_name=_text(bytes(row["bundle_name"]), "bundle name"),
        bundle_digest=row["bundle_digest"],
        views=tuple(views),
        horizon=int(row["horizon"]),
        action_dim=int(row["action_dim"]),
        gripper_index=None if gripper == table.NO_GRIPPER else gripper,
        representation=_enum(ActionRepresentation, row["representation"], "action representation"),
        period_ns=int(row["period_ns"]),
        staleness=_staleness(row),
        health=_enum(Health, row["health"], "health"),
        sequence=sequence,
        sent_ns=sent_ns,
    )


def _decode_error(reader: Reader, sequence: int, sent_ns: int) -> ErrorReply:
    row = reader.record(table.ERROR)
    size = int(row["message_bytes"])
    start = reader.advance(size, "error text")
    reader.end()
    return ErrorReply(
        code=_enum(ErrorCode, row["code"], "error code"),
        message=_text(bytes(memoryview(reader.frame)[start : start + size]), "error text"),
        observation_sequence=int(row["observation_sequence"]),
        sequence=sequence,
        sent_ns=sent_ns,
    )


def _decode_report(reader: Reader, sequence: int, sent_ns: int) -> StateReport:
    state = _decode_state(reader)
    reader.end()
    return StateReport(state, sequence, sent_ns)


def _decode_hello(reader: Reader, sequence: int, sent_ns: int) -> Hello:
    reader.end()
    return Hello(sequence, sent_ns)


def _decode_goodbye(reader: Reader, sequence: int, sent_ns: int) -> Goodbye:
    reader.end()
    return Goodbye(sequence, sent_ns)


DECODERS: dict[int, Callable[[Reader, int, int], Message]] = {
    Kind.HELLO: _decode_hello,
    Kind.WELCOME: _decode_welcome,
    Kind.OBSERVATION: _decode_observation,
    Kind.ACTION_CHUNK: _decode_chunk,
    Kind.PLAN: _decode_plan,
    Kind.ROBOT_STATE: _decode_report,
    Kind.ERROR: _decode_error,
    Kind.GOODBYE: _decode_goodbye,
}
