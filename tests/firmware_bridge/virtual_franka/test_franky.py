from collections.abc import Callable
from typing import Any

import pytest

from st4vla.benchmarks.virtual_franka.process import VirtualFranka

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    "motion",
    [
        "joint",
        "joint_waypoints",
        "joint_velocity",
        "cartesian",
        "cartesian_waypoints",
        "elbow",
        "cartesian_velocity",
    ],
)
def test_each_motion_runs(robot: VirtualFranka, run: Run, motion: str) -> None:
    result = run("franky", "move", robot, motion)
    assert result["ok"], result
    assert result["moved_rad"] > 0.01
    status = robot.ask("status")
    assert status["mode"] == "idle"
    assert status["tracking_error_rad"] < 2e-3


@pytest.mark.parametrize(
    "motion", ["joint_stop", "cartesian_stop", "joint_velocity_stop", "cartesian_velocity_stop", "torque_stop"]
)
def test_each_way_to_stop_an_arm_at_rest_leaves_it_at_rest(robot: VirtualFranka, run: Run, motion: str) -> None:
    result = run("franky", "move", robot, motion)
    assert result["ok"], result
    assert result["moved_rad"] < 1e-3


@pytest.mark.parametrize("kind", ["joint", "cartesian"])
def test_its_own_impedance_controllers_move_the_arm_by_torques(robot: VirtualFranka, run: Run, kind: str) -> None:
    result = run("franky", "impedance", robot, kind)
    assert result["ok"], result
    assert 0.01 < result["moved_rad"] < 0.2


def test_the_hand_opens_and_closes(robot: VirtualFranka, run: Run) -> None:
    result = run("franky", "gripper", robot)
    assert result == {
        "ok": True,
        "homing": True,
        "move": True,
        "width": pytest.approx(0.05),
        "open": True,
        "max_width": pytest.approx(0.08),
    }


def test_full_speed_of_a_panda_is_too_fast_for_a_research_3(run: Run) -> None:
    # franky plans with Panda's limits: its jerk of 7500 rad/s^3 is above the 5000 of Research 3.
    with VirtualFranka(["--robot", "panda"]) as panda:
        assert run("franky", "full_speed", panda)["ok"]
    with VirtualFranka() as research:
        result = run("franky", "full_speed", research)
    assert result["error"] == "ControlException"
    assert "joint_motion_generator_acceleration_discontinuity" in result["message"]
