import threading
import time

import pytest

from st4vla.runtime.bridge.control import ControlLoop, Ended, GripperEvent, RobotState
from st4vla.runtime.bridge.player import NativePlayer, PlayerConfig, Setpoint
from st4vla.runtime.bridge.trace import COLUMNS, TracedArm, sent_poses

HOME = (1.0, 0.0, 0.0, 0.5, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.3, 0.0, 0.0, 0.0, 1.0)


class Arm:
    """Obeys at once; raises at one read, if it is told to."""

    joints = False

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at
        self.reads = 0
        self.lasts: list[bool] = []
        self.pose = HOME

    def read(self, state: RobotState) -> None:
        time.sleep(0.001)
        self.reads += 1
        if self.reads == self.fails_at:
            raise RuntimeError("somebody pressed the stop " + "é" * 300)
        state.ticks, state.joint_count = 1, 7
        state.base_T_ee[:] = state.commanded_base_T_ee[:] = self.pose

    def write(self, setpoint: Setpoint, *, last: bool) -> None:
        self.pose = tuple(setpoint.base_T_ee)
        self.lasts.append(last)

    def grip(self, event: GripperEvent) -> None:
        del event


@pytest.fixture
def player() -> NativePlayer:
    return NativePlayer(PlayerConfig.default())


def test_a_run_lasts_until_somebody_ends_it(player: NativePlayer) -> None:
    arm = Arm()
    control = ControlLoop(player, arm)
    assert control.state() is None
    threading.Timer(0.2, control.end).start()
    assert control.run() is Ended.AT_REST
    assert arm.lasts[-1]
    assert not any(arm.lasts[:-1])
    state = control.state()
    assert state is not None
    assert tuple(state.base_T_ee) == HOME
    assert (control.report().cycles, control.report().missed) == (len(arm.lasts), 0)


def test_an_arm_that_raises_ends_the_run_with_its_words(player: NativePlayer) -> None:
    control = ControlLoop(player, Arm(fails_at=5))
    assert control.run() is Ended.ROBOT
    assert control.text.startswith("somebody pressed the stop é")
    assert len(control.text.encode()) < 256


def test_an_arm_outside_of_its_workspace_is_not_moved(player: NativePlayer) -> None:
    arm = Arm()
    arm.pose = (*HOME[:3], 9.0, *HOME[4:])
    assert ControlLoop(player, arm).run() is Ended.PLAYER
    assert arm.lasts == []


def test_a_trace_has_a_row_for_each_command_that_there_is_room_for(player: NativePlayer) -> None:
    arm = TracedArm(Arm(), 50)
    control = ControlLoop(player, arm)
    threading.Timer(0.2, control.end).start()
    control.run()
    rows = arm.rows
    assert rows.shape == (50, len(COLUMNS))
    assert (rows[:, 2:5] == (0.5, 0.0, 0.3)).all()
    assert (rows[:, 17:20] == (0.5, 0.0, 0.3)).all()
    assert (sent_poses(rows)[:, :, 3] == (0.5, 0.0, 0.3)).all()
    assert arm.figures() == {
        "tracking_error_mm": {"p50": 0.0, "max": 0.0},
        "frame_to_motion_ms": {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0},
        "chunks_executed": 0,
    }
