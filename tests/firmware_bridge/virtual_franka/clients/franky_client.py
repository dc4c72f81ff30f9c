"""One unmodified franky client, in a process of its own; see pylibfranka_client.py."""

import json
import os
import sys
from typing import Any

import franky
import numpy as np

#: franky plans with the limits of Panda, some of which are above those of Research 3.
FACTOR = 0.1


def connect(address: str, factor: float = FACTOR) -> Any:
    robot = franky.Robot(address, relative_dynamics_factor=factor, realtime_config=franky.RealtimeConfig.Ignore)
    robot.recover_from_errors()
    return robot


def turned(robot: Any, by: float) -> list[float]:
    return list(np.array(robot.current_joint_positions) + by * np.array([1, 1, 0, -1, 0, 1, 1]))


def motions(robot: Any) -> dict[str, Any]:
    """Return one of each of franky's motions, from where the arm is."""
    here = robot.current_cartesian_state.pose.end_effector_pose
    shift = franky.Affine([0.02, 0.01, -0.01])
    relative = franky.ReferenceType.Relative
    time = franky.Duration(200)
    return {
        "joint": lambda: franky.JointMotion(turned(robot, 0.03)),
        "joint_waypoints": lambda: franky.JointWaypointMotion(
            [franky.JointWaypoint(turned(robot, 0.02)), franky.JointWaypoint(turned(robot, -0.02))]
        ),
        "joint_velocity": lambda: franky.JointVelocityMotion([0.1, 0, 0, 0, 0, 0, 0.1], duration=time),
        "cartesian": lambda: franky.CartesianMotion(shift, relative),
        "cartesian_waypoints": lambda: franky.CartesianWaypointMotion(
            [
                franky.CartesianWaypoint(shift, relative),
                franky.CartesianWaypoint(franky.Affine([0.01, -0.01, 0.01]), relative),
            ]
        ),
        "elbow": lambda: franky.CartesianMotion(
            franky.RobotPose(here, franky.ElbowState(robot.current_joint_positions[2] + 0.03))
        ),
        "cartesian_velocity": lambda: franky.CartesianVelocityMotion(
            franky.Twist([0.03, 0, 0], [0, 0, 0.05]), duration=time
        ),
        "joint_stop": franky.JointStopMotion,
        "cartesian_stop": franky.CartesianStopMotion,
        "joint_velocity_stop": franky.JointVelocityStopMotion,
        "cartesian_velocity_stop": franky.CartesianVelocityStopMotion,
        "torque_stop": franky.TorqueStopMotion,
    }


def move(address: str, name: str) -> dict[str, Any]:
    robot = connect(address)
    before = np.array(robot.current_joint_positions)
    robot.move(motions(robot)[name]())
    return {"moved_rad": float(np.abs(np.array(robot.current_joint_positions) - before).max())}


def impedance(address: str, kind: str) -> dict[str, Any]:
    """Torque control: franky's own impedance controllers draw the arm to a target for half a second."""
    robot = connect(address)
    before = np.array(robot.current_joint_positions)
    if kind == "joint":
        motion = franky.JointImpedanceMotion(turned(robot, 0.02))
    else:
        motion = franky.CartesianImpedanceMotion(
            franky.Affine([0.0, 0.02, 0.0]), target_type=franky.ReferenceType.Relative
        )
    motion.add_reaction(franky.TorqueReaction(franky.Measure.REL_TIME > 0.5, franky.TorqueStopMotion()))
    robot.move(motion)
    return {"moved_rad": float(np.abs(np.array(robot.current_joint_positions) - before).max())}


def sway(address: str, seconds: str) -> dict[str, Any]:
    """Move to and fro for a while; something is expected to end it."""
    robot = connect(address, 0.03)
    for index in range(int(float(seconds) * 2)):
        robot.move(franky.JointMotion(turned(robot, 0.1 if index % 2 else -0.1)))
    return {}


def full_speed(address: str) -> dict[str, Any]:
    robot = connect(address, 1.0)
    robot.move(franky.JointMotion(turned(robot, 0.1)))
    return {}


def recovers(address: str) -> dict[str, Any]:
    robot = connect(address)
    robot.move(franky.JointMotion(turned(robot, 0.01)))
    return {"errors": robot.has_errors}


def gripper(address: str) -> dict[str, Any]:
    hand = franky.Gripper(address)
    out: dict[str, Any] = {"homing": hand.homing(), "move": hand.move(0.05, 0.1), "width": hand.width}
    out["open"] = hand.open(0.1)
    out["max_width"] = hand.max_width
    return out


def main() -> None:
    action, address, *arguments = sys.argv[1:]
    try:
        out = {"ok": True, **globals()[action](address, *arguments)}
        print(json.dumps(out), flush=True)
    except Exception as error:
        print(json.dumps({"ok": False, "error": type(error).__name__, "message": str(error)}), flush=True)
        # While what failed is still held: to let go of it, libfranka asks the robot once more, and waits for the answer
        # for ever when the cable is out.
        os._exit(0)
    os._exit(0)


if __name__ == "__main__":
    main()
