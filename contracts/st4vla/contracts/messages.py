"""The types that cross between robot and runtime.

Structs of msgspec, because a message is made several times on its way and they are made in a tenth of the time that a
frozen dataclass takes. `msgspec.structs.replace` makes a changed copy.

Times are nanoseconds on a monotonic clock. Capture times stay on the clock of the machine that captured, all the way
to the robot and back, so that ages are differences on one clock.
"""

from __future__ import annotations

import enum

import msgspec
import numpy as np
import numpy.typing as npt

from st4vla.contracts.staleness import NO_BOUNDS, Pace, Staleness

MAX_JOINTS = 16
MAX_VIEWS = 8
MAX_VIEW_NAME_BYTES = 16
MAX_BUNDLE_NAME_BYTES = 64
MAX_INSTRUCTION_BYTES = 4096
MAX_IMAGE_SIDE = 8192


class ImageEncoding(enum.IntEnum):
    """How a view's bytes hold its picture."""

    RGB8 = 1
    JPEG = 2


class InstructionEncoding(enum.IntEnum):
    """How an instruction's bytes hold its text."""

    UTF8 = 1


class ActionRepresentation(enum.IntEnum):
    """What an action's numbers mean.

    EE_DELTA: translation in metres then rotation vector in radians of the end effector in the base frame, relative to
    the last commanded pose, then gripper. JOINT_DELTA and JOINT_POSITION: radians per joint, then gripper.
    """

    EE_DELTA = 1
    JOINT_DELTA = 2
    JOINT_POSITION = 3


class PlanReason(enum.IntEnum):
    """Why System 2 made a plan."""

    FIRST = 1
    INSTRUCTION = 2
    PERIOD = 3
    REQUEST = 4
    CHANGE = 5


class Health(enum.IntEnum):
    """Whether a server can be relied on.

    STARTING: still warming up. READY: warm, and its engines agree with the bundle's golden outputs. DEGRADED: it
    serves, but something that its operator should look at is wrong.
    """

    STARTING = 1
    READY = 2
    DEGRADED = 3


class ErrorCode(enum.IntEnum):
    """Why a message was refused. Values are part of the wire format."""

    FOREIGN_MESSAGE = 1
    WIRE_VERSION = 2
    TRUNCATED_MESSAGE = 3
    CHECKSUM = 4
    MALFORMED_MESSAGE = 5
    OBSERVATION = 6
    UNEXPECTED_KIND = 7
    TOO_MANY_CLIENTS = 8
    ENGINE = 9
    UNSAFE_OUTPUT = 10
    DEADLINE = 11
    STALE = 12
    NOT_READY = 13
    INTERNAL = 14


class View(msgspec.Struct, frozen=True, gc=False):
    """One camera's picture.

    Attributes:
        name: Camera name, at most 16 bytes of ASCII, as the bundle names it.
        capture_ns: When the picture was taken, on the sender's clock.
        height: Pixels.
        width: Pixels.
        encoding: How `data` holds the picture.
        data: RGB8: height * width * 3 bytes, row-major. JPEG: the file's bytes. uint8, one dimension.
    """

    name: str
    capture_ns: int
    height: int
    width: int
    encoding: ImageEncoding
    data: npt.NDArray[np.uint8]

    @classmethod
    def from_pixels(cls, name: str, pixels: npt.NDArray[np.uint8], capture_ns: int) -> View:
        """Wrap an RGB picture uint8 [H, W, 3] without copying it when it is contiguous.

        Raises:
            ValueError: Another dtype or shape.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            msg = f"view {name!r} must be uint8 [H, W, 3]; got {pixels.dtype} {list(pixels.shape)}"
            raise ValueError(msg)
        height, width = pixels.shape[:2]
        return cls(name, capture_ns, height, width, ImageEncoding.RGB8, np.ascontiguousarray(pixels).reshape(-1))

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """The picture as uint8 [H, W, 3], without a copy; RGB8 views only.

        Raises:
            ValueError: The view is encoded and must be decoded first.
        """
        if self.encoding is not ImageEncoding.RGB8:
            msg = f"view {self.name!r} is {self.encoding.name}; decode it first"
            raise ValueError(msg)
        return self.data.reshape(self.height, self.width, 3)


class RobotState(msgspec.Struct, frozen=True, gc=False):
    """What the arm measures of itself.

    Attributes:
        capture_ns: When it was measured, on the sender's clock.
        joint_positions_rad: float64 [J], J at most 16.
        joint_velocities_rad_s: float64 [J].
        base_T_ee: float64 [4, 4], the end effector's pose in the robot's base frame; translation in metres.
        gripper_width_m: Opening between the fingers.
    """

    capture_ns: int
    joint_positions_rad: npt.NDArray[np.float64]
    joint_velocities_rad_s: npt.NDArray[np.float64]
    base_T_ee: npt.NDArray[np.float64]  # noqa: N815
    gripper_width_m: float


class Observation(msgspec.Struct, frozen=True, gc=False):
    """What a robot sees and is told; one request for actions.

    Attributes:
        sequence: Rises by one with each observation of a client.
        views: V views, in any order; the runtime sorts them by the bundle's names.
        instruction: What to do.
        seed: Seeds the sampler's noise: the same observation and seed give the same chunk, bit for bit.
        deadline_ns: How long after `sent_ns` an answer is still of use; 0 for no deadline.
        held_chunk_id: The newest chunk that the client has; 0 for none. A server that sends chunks before the last one
            is used up needs to know which actions will be executed meanwhile, and how long a chunk takes to arrive.
        held_received_ns: When that chunk arrived, on the sender's clock.
        robot_state: The arm's state, if the client has one.
        replan: Ask System 2 for a new plan from this observation.
        fresh: Hold to nothing of earlier chunks: the first frame after a reset, or a client that executes each chunk
            from its first action on whenever it comes.
        wants_plans: Send a `Plan` notice whenever System 2 has finished one for this client.
        sent_ns: Sender's clock at sending; `encode` fills it in when 0.
    """

    sequence: int
    views: tuple[View, ...]
    instruction: str
    seed: int = 0
    deadline_ns: int = 0
    held_chunk_id: int = 0
    held_received_ns: int = 0
    robot_state: RobotState | None = None
    replan: bool = False
    wants_plans: bool = False
    fresh: bool = False
    sent_ns: int = 0

    @property
    def capture_ns(self) -> int:
        """Capture time of the oldest view: the age of what is known."""
        return min(view.capture_ns for view in self.views)


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Notice that System 2 has finished a plan; the plan itself stays in the runtime.

    Attributes:
        plan_id: Rises by one with each plan of the server.
        observation_sequence: The observation it was made from.
        frame_capture_ns: Capture time of that observation's oldest view, on the client's clock.
        inference_ns: How long System 2 took.
        token_count: Prompt length, image tokens included.
        reason: Why it was made.
        sequence: Message counter of the server.
        sent_ns: Server's clock at sending.
    """

    plan_id: int
    observation_sequence: int
    frame_capture_ns: int
    inference_ns: int
    token_count: int
    reason: PlanReason
    sequence: int = 0
    sent_ns: int = 0


class ActionChunk(msgspec.Struct, frozen=True, gc=False):
    """Actions for the robot, with all that is needed to judge their age.

    Attributes:
        chunk_id: Rises by one with each chunk of the server.
        actions: float32 [T, A], un-normalised, in the units of `representation`.
        period_ns: Time between two actions.
        representation: What the numbers mean.
        gripper_index: Which of the A dimensions is the gripper, or None.
        observation_sequence: The observation behind the chunk.
        observation_sent_ns: That observation's `sent_ns`, echoed for the clock-offset estimate.
        frame_capture_ns: Capture time of that observation's oldest view, on the client's clock.
        start_ns: When action 0 is due, on the client's clock; action k is due k * period_ns later. Near the capture
            time, on the grid of the chunk before.
        plan_id: The plan behind the chunk.
        plan_capture_ns: Capture time of the oldest view behind that plan, on the client's clock.
        seed: The seed that was used.
        received_ns: Server's clock when the observation arrived.
        inference_ns: How long System 1 took.
        frame_age_ns: Age of the frame at sending, without the time on the wire.
        plan_age_ns: Age of the plan's frame at sending, without the time on the wire.
        frozen_steps: How many leading actions were held to those of the chunk before.
        pace: RUN, or SLOW when the actions are scaled down for their age.
        frames_superseded: Observations of this client so far that a newer one replaced before System 1 saw them.
        sequence: Message counter of the server.
        sent_ns: Server's clock at sending.
    """

    chunk_id: int
    actions: npt.NDArray[np.float32]
    period_ns: int
    representation: ActionRepresentation
    gripper_index: int | None
    observation_sequence: int
    observation_sent_ns: int
    frame_capture_ns: int
    start_ns: int
    plan_id: int
    plan_capture_ns: int
    seed: int
    received_ns: int
    inference_ns: int
    frame_age_ns: int = 0
    plan_age_ns: int = 0
    frozen_steps: int = 0
    pace: Pace = Pace.RUN
    frames_superseded: int = 0
    sequence: int = 0
    sent_ns: int = 0

    @property
    def plan_lead_ns(self) -> int:
        """How much older the plan's frame is than the chunk's own."""
        return self.frame_capture_ns - self.plan_capture_ns


class WelcomeView(msgspec.Struct, frozen=True, gc=False):
    """A view that the server wants."""

    name: str
    height: int
    width: int


class Welcome(msgspec.Struct, frozen=True, gc=False):
    """What a server tells a client that said hello.

    Attributes:
        bundle_name: Name of the bundle being served.
        bundle_digest: SHA-256 of its manifest, 32 bytes.
        views: The views it wants, in the bundle's order.
        horizon: T, actions in a chunk.
        action_dim: A, numbers in an action.
        gripper_index: Which of them is the gripper, or None.
        representation: What they mean.
        period_ns: Time between two actions of a chunk.
        staleness: Ages at which a player slows down, holds and stops.
        health: Whether it can be relied on.
        sequence: Message counter of the server.
        sent_ns: Server's clock at sending.
    """

    bundle_name: str
    bundle_digest: bytes
    views: tuple[WelcomeView, ...]
    horizon: int
    action_dim: int
    gripper_index: int | None
    representation: ActionRepresentation
    period_ns: int
    staleness: Staleness = NO_BOUNDS
    health: Health = Health.READY
    sequence: int = 0
    sent_ns: int = 0


class ErrorReply(msgspec.Struct, frozen=True, gc=False):
    """Why a message was refused, or why no chunk can be had.

    Attributes:
        code: The cause.
        message: One line: the value, what is allowed, what to do.
        observation_sequence: The message it answers; 0 where that could not be read.
        sequence: Message counter of the server.
        sent_ns: Server's clock at sending.
    """

    code: ErrorCode
    message: str
    observation_sequence: int = 0
    sequence: int = 0
    sent_ns: int = 0


class Hello(msgspec.Struct, frozen=True, gc=False):
    """Ask a server what it serves."""

    sequence: int = 0
    sent_ns: int = 0


class Goodbye(msgspec.Struct, frozen=True, gc=False):
    """Tell a server that this client leaves, so that its place is free."""

    sequence: int = 0
    sent_ns: int = 0


class StateReport(msgspec.Struct, frozen=True, gc=False):
    """A robot state on its own, sent between observations."""

    state: RobotState
    sequence: int = 0
    sent_ns: int = 0


Message = Hello | Welcome | Observation | ActionChunk | Plan | StateReport | ErrorReply | Goodbye
