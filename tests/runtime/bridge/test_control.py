import threading
import time

import numpy as np
import pytest

from st4vla.runtime.bridge.control import ControlLoop, Ended, GripperEvent, RobotState
from st4vla.runtime.bridge.player import NativePlayer, PlayerConfig, Setpoint
from st4vla.runtime.bridge.trace import COLUMNS, empty_trace, figures, latencies_ns, sent_poses

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
    control = ControlLoop(player, Arm())
    control.trace(50)
    threading.Timer(0.2, control.end).start()
    control.run()
    rows = control.rows
    assert rows.shape == (50, len(COLUMNS))
    assert (np.diff(rows[:, 0]) > 0).all()
    assert (rows[:, 1] == 1).all()
    assert (rows[:, 2:5] == (0.5, 0.0, 0.3)).all()
    assert (rows[:, 17:20] == (0.5, 0.0, 0.3)).all()
    assert (sent_poses(rows)[:, :, 3] == (0.5, 0.0, 0.3)).all()
    assert figures(rows) == {
        "tracking_error_mm": {"p50": 0.0, "max": 0.0},
        "frame_to_motion_ms": {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0},
        "chunks_executed": 0,
    }


def test_a_trace_tells_how_old_each_chunks_frame_was_when_it_first_moved_the_arm() -> None:
    rows = empty_trace(6)
    rows[:, COLUMNS.index("chunk_id")] = (0, 7, 7, 8, 8, 0)
    rows[:, COLUMNS.index("frame_age_ns")] = (-1, 30e6, 31e6, 20e6, 21e6, -1)
    assert list(latencies_ns(rows)) == [30_000_000, 20_000_000]
    assert figures(rows)["frame_to_motion_ms"]["max"] == 30.0


def test_a_run_without_a_trace_has_no_rows(player: NativePlayer) -> None:
    control = ControlLoop(player, Arm())
    control.end()
    control.run()
    assert figures(control.rows) == {}
