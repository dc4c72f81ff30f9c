"""Messages to records of a frame; the header is `wire`'s."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from st4vla.contracts import wire_table as table
from st4vla.contracts.errors import MalformedMessageError
from st4vla.contracts.messages import (
    MAX_INSTRUCTION_BYTES,
    MAX_JOINTS,
    MAX_VIEW_NAME_BYTES,
    MAX_VIEWS,
    ActionChunk,
    ErrorReply,
    Goodbye,
    Hello,
    InstructionEncoding,
    Observation,
    Plan,
    RobotState,
    StateReport,
    Welcome,
)
from st4vla.contracts.staleness import Staleness
from st4vla.contracts.wire_table import Kind


def _name_bytes(name: str) -> bytes:
    raw = name.encode("ascii", "replace")
    if not name.isascii() or not 0 < len(raw) <= MAX_VIEW_NAME_BYTES:
        msg = f"view name {name!r} must be 1 to {MAX_VIEW_NAME_BYTES} ASCII characters"
        raise MalformedMessageError(msg)
    return raw


_Fill = Callable[[bytearray], None]
_Encoded = tuple[Kind, int, _Fill]


def _nothing(frame: bytearray) -> None:
    del frame


def _state_values(state: RobotState) -> dict[str, Any]:
    joints = len(state.joint_positions_rad)
    if joints > MAX_JOINTS or len(state.joint_velocities_rad_s) != joints or np.shape(state.base_T_ee) != (4, 4):
        msg = (
            f"robot state needs [J] positions and velocities, J at most {MAX_JOINTS}, and base_T_ee [4, 4]; "
            f"got {joints}, {len(state.joint_velocities_rad_s)} and {list(np.shape(state.base_T_ee))}"
        )
        raise MalformedMessageError(msg)
    padding = [0.0] * (MAX_JOINTS - joints)
    return {
        "capture_ns": state.capture_ns,
        "joint_count": joints,
        "joint_positions_rad": [*state.joint_positions_rad, *padding],
        "joint_velocities_rad_s": [*state.joint_velocities_rad_s, *padding],
        "base_T_ee": np.reshape(state.base_T_ee, -1),
        "gripper_width_m": state.gripper_width_m,
    }


def _encode_observation(message: Observation) -> _Encoded:
    instruction = message.instruction.encode()
    if len(instruction) > MAX_INSTRUCTION_BYTES:
        msg = f"instruction of {len(instruction)} bytes; at most {MAX_INSTRUCTION_BYTES} are allowed"
        raise MalformedMessageError(msg)
    if not 1 <= len(message.views) <= MAX_VIEWS:
        msg = f"observation with {len(message.views)} views; 1 to {MAX_VIEWS} are allowed"
        raise MalformedMessageError(msg)
    state = message.robot_state
    end = table.HEADER.size + table.OBSERVATION.size + table.VIEW.size * len(message.views) + len(instruction)
    end += table.ROBOT_STATE.size if state is not None else 0
    starts = []
    for view in message.views:
        start = math.ceil(end / table.VIEW_ALIGNMENT) * table.VIEW_ALIGNMENT
        starts.append(start)
        end = start + view.data.nbytes

    def fill(frame: bytearray) -> None:
        flags = (table.FLAG_ROBOT_STATE if state is not None else 0) | (table.FLAG_REPLAN if message.replan else 0)
        flags |= table.FLAG_WANTS_PLANS if message.wants_plans else 0
        flags |= table.FLAG_FRESH if message.fresh else 0
        offset = table.OBSERVATION.pack(
            frame,
            table.HEADER.size,
            seed=message.seed,
            deadline_ns=message.deadline_ns,
            held_chunk_id=message.held_chunk_id,
            held_received_ns=message.held_received_ns,
            instruction_bytes=len(instruction),
            flags=flags,
            instruction_encoding=InstructionEncoding.UTF8,
            view_count=len(message.views),
        )
        if state is not None:
            offset = table.ROBOT_STATE.pack(frame, offset, **_state_values(state))
        for view, start in zip(message.views, starts, strict=True):
            offset = table.VIEW.pack(
                frame,
                offset,
                capture_ns=view.capture_ns,
                offset=start,
                bytes=view.data.nbytes,
                height=view.height,
                width=view.width,
                encoding=view.encoding,
                name=_name_bytes(view.name),
            )
            frame[start : start + view.data.nbytes] = view.data.data
        frame[offset : offset + len(instruction)] = instruction

    return Kind.OBSERVATION, end - table.HEADER.size, fill


def _encode_chunk(message: ActionChunk) -> _Encoded:
    if message.actions.ndim != 2 or message.actions.dtype != np.float32:
        msg = f"actions must be float32 [T, A]; got {message.actions.dtype} {list(message.actions.shape)}"
        raise MalformedMessageError(msg)
    horizon, action_dim = message.actions.shape

    def fill(frame: bytearray) -> None:
        offset = table.ACTION_CHUNK.pack(
            frame,
            table.HEADER.size,
            chunk_id=message.chunk_id,
            observation_sequence=message.observation_sequence,
            observation_sent_ns=message.observation_sent_ns,
            frame_capture_ns=message.frame_capture_ns,
            start_ns=message.start_ns,
            plan_id=message.plan_id,
            plan_capture_ns=message.plan_capture_ns,
            seed=message.seed,
            received_ns=message.received_ns,
            inference_ns=message.inference_ns,
            frame_age_ns=message.frame_age_ns,
            plan_age_ns=message.plan_age_ns,
            period_ns=message.period_ns,
            frames_superseded=message.frames_superseded,
            horizon=horizon,
            action_dim=action_dim,
            gripper_index=table.NO_GRIPPER if message.gripper_index is None else message.gripper_index,
            representation=message.representation,
            frozen_steps=message.frozen_steps,
            pace=message.pace,
        )
        frame[offset:] = message.actions.astype("<f4", copy=False).tobytes()

    return Kind.ACTION_CHUNK, table.ACTION_CHUNK.size + message.actions.nbytes, fill


def _encode_plan(message: Plan) -> _Encoded:
    def fill(frame: bytearray) -> None:
        table.PLAN.pack(
            frame,
            table.HEADER.size,
            plan_id=message.plan_id,
            observation_sequence=message.observation_sequence,
            frame_capture_ns=message.frame_capture_ns,
            inference_ns=message.inference_ns,
            token_count=message.token_count,
            reason=message.reason,
        )

    return Kind.PLAN, table.PLAN.size, fill


def _bounds(staleness: Staleness) -> dict[str, int]:
    return {
        f"{of}_{bound}": getattr(bounds, bound)
        for of, bounds in (("frame", staleness.frame), ("plan", staleness.plan))
        for bound in ("slow_ns", "hold_ns", "stop_ns")
    }


def _encode_welcome(message: Welcome) -> _Encoded:
    def fill(frame: bytearray) -> None:
        offset = table.WELCOME.pack(
            frame,
            table.HEADER.size,
            period_ns=message.period_ns,
            **_bounds(message.staleness),
            horizon=message.horizon,
            action_dim=message.action_dim,
            gripper_index=table.NO_GRIPPER if message.gripper_index is None else message.gripper_index,
            representation=message.representation,
            view_count=len(message.views),
            health=message.health,
            bundle_digest=message.bundle_digest,
            bundle_name=message.bundle_name.encode(),
        )
        for view in message.views:
            name = _name_bytes(view.name)
            offset = table.WELCOME_VIEW.pack(frame, offset, height=view.height, width=view.width, name=name)

    return Kind.WELCOME, table.WELCOME.size + table.WELCOME_VIEW.size * len(message.views), fill


def _encode_error(message: ErrorReply) -> _Encoded:
    text = message.message.encode()

    def fill(frame: bytearray) -> None:
        sequence, code = message.observation_sequence, message.code
        offset = table.ERROR.pack(
            frame,
            table.HEADER.size,
            observation_sequence=sequence,
            message_bytes=len(text),
            code=code,
        )
        frame[offset:] = text

    return Kind.ERROR, table.ERROR.size + len(text), fill


def _encode_state(message: StateReport) -> _Encoded:
    def fill(frame: bytearray) -> None:
        table.ROBOT_STATE.pack(frame, table.HEADER.size, **_state_values(message.state))

    return Kind.ROBOT_STATE, table.ROBOT_STATE.size, fill


ENCODERS: dict[type, Callable[[Any], _Encoded]] = {
    Hello: lambda _: (Kind.HELLO, 0, _nothing),
    Goodbye: lambda _: (Kind.GOODBYE, 0, _nothing),
    Observation: _encode_observation,
    ActionChunk: _encode_chunk,
    Plan: _encode_plan,
    Welcome: _encode_welcome,
    ErrorReply: _encode_error,
    StateReport: _encode_state,
}
