"""From what happened to what is written of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from crc32c import crc32c

from st4vla.contracts import messages
from st4vla.contracts.messages import ImageEncoding, Observation
from st4vla.runtime.chunking import Splice
from st4vla.runtime.engines.engine import Array
from st4vla.runtime.policy import Acted, PlanTensors
from st4vla.runtime.recording.journal import Answer, Given, Note, Submitted
from st4vla.runtime.recording.records import (
    ActedRecord,
    ActionChunk,
    Call,
    ErrorReply,
    FrameRecord,
    Outcome,
    OverdueRecord,
    Plan,
    PlannedRecord,
    RobotState,
    TensorRecord,
    ViewRecord,
)
from st4vla.runtime.scheduler import Overdue
from st4vla.runtime.session import ActJob, Handout, HeldPlan, PlanJob

NO_GRIPPER = -1


def describe(note: Note, frame_number: int = 0) -> Call:
    """Return what is written of a call; `frame_number` is the number of the frame that it submits."""
    given = note.given
    return Call(
        number=note.number,
        name=note.name,
        time_ns=note.time_ns,
        client=note.client,
        slot=note.slot,
        job=note.job,
        for_good=given is True,
        outcome=_outcome(note.answer),
        frame=_frame(given, note.slot, frame_number),
        acted=describe_acted(given) if isinstance(given, Acted) else None,
        planned=_planned(given),
    )


def view_topic(slot: int, view: str, encoding: ImageEncoding) -> str:
    """Return the topic of a client's view; pictures of another encoding have another schema, so another topic."""
    return f"/clients/{slot}/views/{view}" + ("/jpeg" if encoding is ImageEncoding.JPEG else "")


def state_topic(slot: int) -> str:
    """Return the topic of a client's robot state."""
    return f"/clients/{slot}/robot_state"


def describe_acted(acted: Acted) -> ActedRecord:
    """Return what is written of what System 1 made."""
    if acted.cells is None:
        return ActedRecord(_bytes(acted.actions), b"", 0)
    return ActedRecord(_bytes(acted.actions), _bytes(acted.cells), len(acted.cells))


def describe_state(observation: Observation) -> RobotState | None:
    """Return what is written of an observation's robot state, or None where it has none."""
    state = observation.robot_state
    if state is None:
        return None
    return RobotState(
        sequence=observation.sequence,
        capture_ns=state.capture_ns,
        joint_positions_rad=np.asarray(state.joint_positions_rad, np.float64),
        joint_velocities_rad_s=np.asarray(state.joint_velocities_rad_s, np.float64),
        base_T_ee=np.asarray(state.base_T_ee, np.float64).reshape(-1),
        gripper_width_m=state.gripper_width_m,
    )


def describe_chunk(chunk: messages.ActionChunk) -> ActionChunk:
    """Return what is written of a chunk."""
    horizon, action_dim = chunk.actions.shape
    return ActionChunk(
        chunk_id=chunk.chunk_id,
        observation_sequence=chunk.observation_sequence,
        plan_id=chunk.plan_id,
        actions=chunk.actions.astype(np.float32, copy=False).reshape(-1),
        horizon=horizon,
        action_dim=action_dim,
        gripper_index=NO_GRIPPER if chunk.gripper_index is None else chunk.gripper_index,
        representation=chunk.representation.name,
        pace=chunk.pace.name,
        period_ns=chunk.period_ns,
        observation_sent_ns=chunk.observation_sent_ns,
        frame_capture_ns=chunk.frame_capture_ns,
        start_ns=chunk.start_ns,
        plan_capture_ns=chunk.plan_capture_ns,
        seed=chunk.seed,
        received_ns=chunk.received_ns,
        inference_ns=chunk.inference_ns,
        frame_age_ns=chunk.frame_age_ns,
        plan_age_ns=chunk.plan_age_ns,
        frozen_steps=chunk.frozen_steps,
        frames_superseded=chunk.frames_superseded,
    )


def describe_plan(plan: messages.Plan) -> Plan:
    """Return what is written of a plan notice."""
    return Plan(
        plan.plan_id,
        plan.observation_sequence,
        plan.frame_capture_ns,
        plan.inference_ns,
        plan.token_count,
        plan.reason.name,
    )


def describe_error(error: messages.ErrorReply) -> ErrorReply:
    """Return what is written of an error reply."""
    return ErrorReply(error.code.name, error.message, error.observation_sequence)


def digest(arrays: Iterable[Array]) -> bytes:
    """Return 16 bytes that depend on all bytes of arrays."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(np.ascontiguousarray(array).data)
    return found.digest()


def _frame(given: Given, slot: int, number: int) -> FrameRecord | None:
    if not isinstance(given, Submitted):
        return None
    observation = given.observation
    return FrameRecord(
        number=number,
        sequence=observation.sequence,
        received_ns=given.received_ns,
        instruction=observation.instruction,
        seed=observation.seed,
        deadline_ns=observation.deadline_ns,
        held_chunk_id=observation.held_chunk_id,
        held_received_ns=observation.held_received_ns,
        sent_ns=observation.sent_ns,
        replan=observation.replan,
        wants_plans=observation.wants_plans,
        fresh=observation.fresh,
        state_topic="" if observation.robot_state is None else state_topic(slot),
        views=tuple(
            ViewRecord(
                view.name,
                view_topic(slot, view.name, view.encoding),
                view.capture_ns,
                view.height,
                view.width,
                view.encoding.name.lower(),
                crc32c(view.data),
            )
            for view in observation.views
        ),
    )


def _planned(given: Given) -> PlannedRecord | None:
    if not isinstance(given, PlanTensors):
        return None
    tensors = (
        TensorRecord(name, str(array.dtype), tuple(array.shape), digest([array]))
        for name, array in sorted(given.tensors.items())
    )
    return PlannedRecord(given.token_count, tuple(tensors))


def _outcome(answer: Answer) -> Outcome:
    describe_answer = next((how for kind, how in _OUTCOMES if isinstance(answer, kind)), None)
    return Outcome() if describe_answer is None else describe_answer(answer)


def _taken(job: ActJob) -> Outcome:
    return Outcome(
        sequence=job.frame.observation.sequence,
        plan_id=job.plan.plan_id,
        superseded=job.superseded,
        start_ns=job.splice.start_ns,
        frozen_steps=job.splice.frozen_steps,
        prefix=_held(job.splice),
    )


def _handed_out(handout: Handout) -> Outcome:
    return Outcome(
        chunk_id=handout.chunk_id,
        pace=handout.pace.name,
        frame_age_ns=handout.frame_age_ns,
        plan_age_ns=handout.plan_age_ns,
        actions=_bytes(handout.actions),
    )


def _held(splice: Splice) -> bytes:
    if splice.prefix is None or splice.weights is None:
        return b""
    return digest((splice.prefix, splice.weights))


def _overdue(overdue: Overdue) -> OverdueRecord:
    return OverdueRecord(overdue.identity, overdue.sequence, overdue.code.name, overdue.text)


def _bytes(array: Array) -> bytes:
    return array.astype("<f4", copy=False).tobytes()


_OUTCOMES: tuple[tuple[type, Callable[[Any], Outcome]], ...] = (
    (bool, lambda answer: Outcome(accepted=answer)),
    (ActJob, _taken),
    (PlanJob, lambda job: Outcome(sequence=job.frame.observation.sequence, reason=job.reason.name)),
    (HeldPlan, lambda plan: Outcome(plan_id=plan.plan_id, reason=plan.reason.name)),
    (Handout, _handed_out),
    (Overdue, lambda overdue: Outcome(overdue=(_overdue(overdue),))),
    (list, lambda overdue: Outcome(overdue=tuple(map(_overdue, overdue)))),
)
