"""What lies in a recording: pictures in Foxglove's own schemas, answers, and the journal of the scheduler's calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from st4vla.runtime.recording.schemas import Fixed32, Float32s, Float64s, Schema, Timestamp, Unsigned


@dataclass(frozen=True, slots=True)
class RawImage:
    """A picture as it came, in Foxglove's schema."""

    timestamp: Timestamp
    width: Fixed32
    height: Fixed32
    encoding: str
    step: Fixed32
    data: bytes
    frame_id: str


@dataclass(frozen=True, slots=True)
class CompressedImage:
    """A JPEG as it came, in Foxglove's schema."""

    timestamp: Timestamp
    data: bytes
    format: str
    frame_id: str


@dataclass(frozen=True, slots=True)
class RobotState:
    """What an arm measured of itself; `sequence` is its observation's."""

    sequence: Unsigned
    capture_ns: int
    joint_positions_rad: Float64s
    joint_velocities_rad_s: Float64s
    base_T_ee: Float64s  # noqa: N815
    gripper_width_m: float


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """A chunk as it went out, un-normalised, row after row; see `contracts.messages.ActionChunk`."""

    chunk_id: int
    observation_sequence: Unsigned
    plan_id: int
    actions: Float32s
    horizon: int
    action_dim: int
    gripper_index: int
    representation: str
    pace: str
    period_ns: int
    observation_sent_ns: int
    frame_capture_ns: int
    start_ns: int
    plan_capture_ns: int
    seed: Unsigned
    received_ns: int
    inference_ns: int
    frame_age_ns: int
    plan_age_ns: int
    frozen_steps: int
    frames_superseded: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan notice as it went out to a client that wants them."""

    plan_id: int
    observation_sequence: Unsigned
    frame_capture_ns: int
    inference_ns: int
    token_count: int
    reason: str


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error reply as it went out."""

    code: str
    message: str
    observation_sequence: Unsigned


@dataclass(frozen=True, slots=True)
class ViewRecord:
    """A view of a frame: its message lies on `topic`, with the frame's number as its sequence."""

    name: str
    topic: str
    capture_ns: int
    height: int
    width: int
    encoding: str
    crc32c: int


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """An observation without its pictures. `state_topic` is empty where it had no robot state."""

    number: int
    sequence: Unsigned
    received_ns: int
    instruction: str
    seed: Unsigned
    deadline_ns: int
    held_chunk_id: Unsigned
    held_received_ns: int
    sent_ns: int
    replan: bool
    wants_plans: bool
    fresh: bool
    state_topic: str
    views: tuple[ViewRecord, ...]


@dataclass(frozen=True, slots=True)
class ActedRecord:
    """What System 1 made: normalised actions [T, A] as they were sampled, and cells [C, D] or none, float32."""

    actions: bytes
    cells: bytes
    cell_count: int


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor of a plan: what it looks like, and a digest of its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class PlannedRecord:
    """What System 2 made."""

    token_count: int
    tensors: tuple[TensorRecord, ...]


@dataclass(frozen=True, slots=True)
class OverdueRecord:
    """An observation that gets no chunk."""

    client: bytes
    sequence: Unsigned
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gave; fields that its kind does not have are zero.

    Attributes:
        accepted: ``admit`` and ``fail_act``: what they returned.
        sequence: The frame that a job is about.
        plan_id: The plan to act by, or the one that was made.
        reason: Why a plan is due.
        superseded: Frames of the client that were never acted on.
        start_ns: When action 0 is due, on the client's clock.
        frozen_steps: Leading actions that are fixed.
        prefix: Digest of what is held to, and how firmly; empty for nothing.
        chunk_id: The chunk that may go out; 0 for none.
        pace: At which it may be executed.
        frame_age_ns: Age of its frame.
        plan_age_ns: Age of its plan's frame.
        actions: Normalised float32 actions [T, A] as they go out.
        overdue: Those that were given up.
    """

    accepted: bool = False
    sequence: Unsigned = 0
    plan_id: int = 0
    reason: str = ""
    superseded: int = 0
    start_ns: int = 0
    frozen_steps: int = 0
    prefix: bytes = b""
    chunk_id: int = 0
    pace: str = ""
    frame_age_ns: int = 0
    plan_age_ns: int = 0
    actions: bytes = b""
    overdue: tuple[OverdueRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the scheduler that changed something, or whose answer counts.

    Attributes:
        number: 1, 2, 3 and so on, in the order in which the scheduler took them.
        name: The method.
        time_ns: The time that it was given; for one that is given none, when it was called.
        client: Whose, as the scheduler knows it; empty for calls that are nobody's.
        slot: The number that the client has in topics; 0 for none.
        job: For the end of a job: the number of the call that took it.
        for_good: ``fail_plan``: not to be tried again.
        outcome: What it gave.
        frame: ``submit``: the observation.
        acted: ``finish_act``: what System 1 made.
        planned: ``finish_plan``: what System 2 made.
    """

    number: int
    name: str
    time_ns: int
    client: bytes = b""
    slot: int = 0
    job: int = 0
    for_good: bool = False
    outcome: Outcome = field(default_factory=Outcome)
    frame: FrameRecord | None = None
    acted: ActedRecord | None = None
    planned: PlannedRecord | None = None


RAW_IMAGE = Schema(RawImage, "foxglove")
COMPRESSED_IMAGE = Schema(CompressedImage, "foxglove")
ROBOT_STATE = Schema(RobotState)
ACTION_CHUNK = Schema(ActionChunk)
PLAN = Schema(Plan)
ERROR_REPLY = Schema(ErrorReply)
CALL = Schema(Call)
