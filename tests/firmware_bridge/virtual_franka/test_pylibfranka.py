import itertools
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
import pytest

from st4vla.benchmarks.virtual_franka.poses import ArmWorld
from st4vla.benchmarks.virtual_franka.process import VirtualFranka

Run = Callable[..., dict[str, Any]]

COMMANDS = ("joint_position", "joint_velocity", "cartesian_pose", "cartesian_velocity")
#: What follows a command with the joints' springs; Franka's own arm is no better than some mrad.
TRACKING_RAD = 2e-3
ABORTED = "libfranka: Move command aborted: motion aborted by reflex!"


@pytest.mark.parametrize(
    ("command", "mode"), [*itertools.product(COMMANDS, ("joint", "cartesian")), ("torque", "joint")]
)
def test_each_motion_mode_runs_at_a_thousand_hertz_and_is_followed(
    robot: VirtualFranka, run: Run, command: str, mode: str
) -> None:
    result = run("pylibfranka", "move", robot, command, mode, "0.5")
    assert result["ok"], result
    assert result["moved_rad"] > 0.02
    assert result["rate_hz"] == pytest.approx(1000, rel=0.15)
    assert result["error_rad"] < TRACKING_RAD
    assert robot.ask("status")["mode"] == "idle"


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("start", ["joint_position_motion_generator_start_pose_invalid"]),
        (
            "position_jump",
            [
                "joint_motion_generator_velocity_limits_violation",
                "joint_motion_generator_velocity_discontinuity",
                "joint_motion_generator_acceleration_discontinuity",
            ],
        ),
        ("jerk", ["joint_motion_generator_acceleration_discontinuity"]),
        ("acceleration", ["joint_motion_generator_velocity_discontinuity"]),
        ("velocity", ["joint_motion_generator_velocity_limits_violation"]),
        ("torque_jump", ["controller_torque_discontinuity"]),
        (
            "pose_jump",
            [
                "cartesian_motion_generator_velocity_limits_violation",
                "cartesian_motion_generator_velocity_discontinuity",
                "cartesian_motion_generator_acceleration_discontinuity",
            ],
        ),
        (
            "twist_jump",
            [
                "cartesian_motion_generator_velocity_discontinuity",
                "cartesian_motion_generator_acceleration_discontinuity",
            ],
        ),
    ],
)
def test_a_command_beyond_a_limit_is_an_exception_that_names_it(
    robot: VirtualFranka, run: Run, kind: str, named: list[str]
) -> None:
    result = run("pylibfranka", "spoil", robot, kind)
    listed = ", ".join(f'"{name}"' for name in named)
    assert result["error"] == "ControlException"
    # libfranka adds lines about the success rate where it has kept a log.
    assert result["message"].partition("\n")[0] == f"{ABORTED} [{listed}]"


def test_a_motion_that_ends_in_flight_is_refused(robot: VirtualFranka, run: Run) -> None:
    result = run("pylibfranka", "spoil", robot, "unfinished")
    assert result["error"] == "ControlException"
    assert result["message"].startswith("Motion finished commanded, but the robot is still moving!")
    assert "joint_motion_generator_velocity_discontinuity" in result["message"]


def test_a_joint_is_kept_in_its_range(run: Run) -> None:
    with VirtualFranka(["--robot", "panda", "--q", "0,-0.785,0,-0.08,0,1.57,0.785"]) as robot:
        result = run("pylibfranka", "move", robot, "joint_position", "joint", "0.5")
    assert result["error"] == "ControlException"
    assert "joint_motion_generator_position_limits_violation" in result["message"]


def test_settings_show_in_the_state_and_impossible_ones_are_refused(robot: VirtualFranka, run: Run) -> None:
    result = run("pylibfranka", "everything_else", robot)
    assert result["ok"], result
    state = result["state"]
    assert state["F_T_EE"][14] == pytest.approx(0.1034 + 0.05)
    assert state["EE_T_K"][14] == pytest.approx(0.05)
    assert (state["m_ee"], state["m_load"]) == (pytest.approx(0.73), pytest.approx(0.2))
    assert state["F_x_Cload"] == pytest.approx([0.0, 0.0, 0.1])
    assert state["O_T_EE"] == pytest.approx(state["O_T_EE_d"], abs=2e-3)
    assert state["elbow"] == [pytest.approx(state["q"][2]), -1.0]
    assert result["refusals"] == [
        "libfranka: Set Joint Impedance command rejected: invalid argument!",
        "libfranka: Set Load command rejected: invalid argument!",
    ]


def test_the_model_that_clients_are_given_is_the_arm_that_moves(robot: VirtualFranka, run: Run) -> None:
    # What libfranka computes from the URDF, with the hand and the load that the state tells of, against MuJoCo's arm.
    result = run("pylibfranka", "everything_else", robot)
    state, world = result["state"], ArmWorld()
    world.data.qpos[:7] = state["q"]
    flange = world.model.body("flange").id
    load = np.array(state["F_x_Cload"])
    mujoco.mj_forward(world.model, world.data)
    jacobian, turning = np.zeros((3, world.model.nv)), np.zeros((3, world.model.nv))
    at = world.data.xpos[flange] + world.data.xmat[flange].reshape(3, 3) @ load
    mujoco.mj_jac(world.model, world.data, jacobian, turning, at, flange)
    linear, angular = jacobian[:, :7], turning[:, :7]
    mass = np.zeros((world.model.nv, world.model.nv))
    mujoco.mj_fullM(world.model, mass, world.data.qM)
    # MuJoCo's arm turns its rotors too, and does not carry what clients were told that it carries.
    rotors = np.diag(world.model.dof_armature[:7])
    carried = state["m_load"] * linear.T @ linear + 1e-4 * angular.T @ angular
    np.testing.assert_allclose(np.reshape(result["mass"], (7, 7)), mass[:7, :7] - rotors + carried, atol=2e-5)
    weight = 9.81 * state["m_load"] * linear[2]
    np.testing.assert_allclose(result["gravity"], world.data.qfrc_bias[:7] + weight, atol=1e-3)
    # Before anything was told to be carried, the sensors of the arm at rest felt just that.
    np.testing.assert_allclose(result["at_rest"]["tau_J"], result["at_rest"]["gravity"], atol=1e-2)


def test_another_thread_may_stop_a_motion(robot: VirtualFranka, run: Run) -> None:
    result = run("pylibfranka", "stop_from_another_thread", robot)
    assert result == {"ok": False, "error": "ControlException", "message": "libfranka: Move command preempted!"}
    assert robot.ask("status")["mode"] == "idle"


def test_targets_may_come_at_any_rate(robot: VirtualFranka, run: Run) -> None:
    result = run("pylibfranka", "targets", robot)
    assert result == {
        "ok": True,
        "accepted": True,
        "status": "TargetStatus.kTargetReached",
        "off": pytest.approx(0.0, abs=0.005),
    }
    assert robot.ask("status")["mode"] == "idle"


def test_the_hand_opens_grasps_and_refuses(robot: VirtualFranka, run: Run) -> None:
    result = run("pylibfranka", "gripper", robot)
    assert result == {
        "ok": True,
        "version": 3,
        "homing": True,
        "open": pytest.approx(0.08),
        "move": True,
        "width": pytest.approx(0.05),
        "missed": False,
        "refused": "libfranka gripper: Command failed!",
    }
    robot.ask("object 0.03")
    result = run("pylibfranka", "grasp", robot, "0.03")
    assert result == {"ok": True, "caught": True, "width": pytest.approx(0.03), "is_grasped": True}


def test_several_robots_run_on_one_machine(run: Run) -> None:
    with VirtualFranka() as one, VirtualFranka(["--robot", "panda"]) as other:
        assert run("pylibfranka", "move", one, "joint_velocity", "joint", "0.3")["ok"]
        assert one.ask("status")["tracking_error_rad"] > 0
        assert other.ask("status")["tracking_error_rad"] == 0
        assert run("pylibfranka", "move", other, "joint_velocity", "joint", "0.3")["ok"]
