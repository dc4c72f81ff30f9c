"""One message of each kind with fixed values, whose bytes the C tests read too.

`python tests/contracts/golden_messages.py` rewrites tests/data/wire/; the values stand again in
firmware_bridge/tests/, which must change with them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from st4vla.contracts.messages import (
    ActionChunk,
    ActionRepresentation,
    ErrorCode,
    ErrorReply,
    Goodbye,
    Health,
    Hello,
    ImageEncoding,
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
from st4vla.contracts.wire import encode

DIRECTORY = Path(__file__).resolve().parents[1] / "data" / "wire"

_PIXELS = (np.arange(4 * 3 * 3, dtype=np.uint8) * 7).reshape(4, 3, 3)
# Begins and ends as a JPEG does, and is no picture: the wire does not look inside.
_JPEG = np.array([0xFF, 0xD8, 0xFF, 0xE0, *range(1, 16), 0xFF, 0xD9], np.uint8)
# Every number is a sum of few powers of two, so that C can compare with ==.
_STATE = RobotState(
    capture_ns=999_000_003,
    joint_positions_rad=np.arange(7) * 0.25 - 0.75,
    joint_velocities_rad_s=np.arange(7) * -0.5 + 1.0,
    base_T_ee=np.array([[0, -1, 0, 0.5], [1, 0, 0, -0.25], [0, 0, 1, 0.375], [0, 0, 0, 1]], np.float64),
    gripper_width_m=0.0625,
)

MESSAGES: dict[str, Message] = {
    "hello": Hello(sequence=1, sent_ns=1_000_000_001),
    "welcome": Welcome(
        bundle_name="pick-cube",
        bundle_digest=bytes(range(32)),
        views=(WelcomeView("agentview", 224, 256), WelcomeView("wrist", 112, 96)),
        horizon=16,
        action_dim=8,
        gripper_index=None,
        representation=ActionRepresentation.JOINT_POSITION,
        period_ns=50_000_000,
        staleness=Staleness(
            AgeBounds(slow_ns=150_000_000, hold_ns=250_000_000, stop_ns=1_000_000_000), AgeBounds(stop_ns=5_000_000_000)
        ),
        health=Health.DEGRADED,
        sequence=2,
        sent_ns=1_000_000_002,
    ),
    "observation": Observation(
        sequence=3,
        views=(
            View.from_pixels("agentview", _PIXELS, 999_000_001),
            View("sixteen_bytes_ab", 999_000_002, 4, 3, ImageEncoding.JPEG, _JPEG),
        ),
        instruction="lift the café cup",
        seed=0xFEDC_BA98_7654_3210,
        deadline_ns=200_000_000,
        held_chunk_id=40,
        held_received_ns=998_000_001,
        robot_state=_STATE,
        replan=True,
        wants_plans=True,
        sent_ns=1_000_000_003,
    ),
    "action_chunk": ActionChunk(
        chunk_id=41,
        actions=(np.arange(4 * 7, dtype=np.float32) * 0.125 - 1).reshape(4, 7),
        period_ns=50_000_000,
        representation=ActionRepresentation.EE_DELTA,
        gripper_index=6,
        observation_sequence=3,
        observation_sent_ns=1_000_000_003,
        frame_capture_ns=999_000_001,
        start_ns=1_010_000_001,
        plan_id=12,
        plan_capture_ns=900_000_001,
        seed=0xFEDC_BA98_7654_3210,
        received_ns=77_000_000_005,
        inference_ns=21_000_000,
        frame_age_ns=23_000_000,
        plan_age_ns=122_000_000,
        frozen_steps=2,
        pace=Pace.SLOW,
        frames_superseded=5,
        sequence=4,
        sent_ns=77_000_000_004,
    ),
    "plan": Plan(
        plan_id=12,
        observation_sequence=3,
        frame_capture_ns=999_000_001,
        inference_ns=180_000_000,
        token_count=321,
        reason=PlanReason.CHANGE,
        sequence=5,
        sent_ns=77_000_000_006,
    ),
    "robot_state": StateReport(_STATE, sequence=6, sent_ns=1_000_000_006),
    "error": ErrorReply(
        code=ErrorCode.OBSERVATION,
        message="view 'wrist' is missing; send agentview, wrist",
        observation_sequence=3,
        sequence=7,
        sent_ns=77_000_000_007,
    ),
    "goodbye": Goodbye(sequence=8, sent_ns=1_000_000_008),
}


def main() -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, message in MESSAGES.items():
        (DIRECTORY / f"{name}.bin").write_bytes(encode(message))


if __name__ == "__main__":
    main()
