"""One unmodified pylibfranka client, in a process of its own because it holds the interpreter while it connects.

Called with the robot's address, what to do, and its arguments; prints one line of JSON.
"""

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pylibfranka

from st4vla.benchmarks.virtual_franka.process import ask

MODES = {"joint": pylibfranka.ControllerMode.JointImpedance, "cartesian": pylibfranka.ControllerMode.CartesianImpedance}


def connect(address: str) -> Any:
    return pylibfranka.Robot(address, pylibfranka.RealtimeConfig.kIgnore)


def there_and_back(size: float, t: float, duration: float) -> float:
    """A smooth way to `size` and back; its first three derivatives begin and end at 0."""
    return size * math.sin(math.pi * min(t / duration, 1.0)) ** 4


def joint_position(first: Any, t: float, duration: float) -> Any:
    q = list(first.q_d)
    q[3] += there_and_back(0.03, t, duration)
    q[5] += there_and_back(0.03, t, duration)
    return pylibfranka.JointPositions(q)


def joint_velocity(_: Any, t: float, duration: float) -> Any:
    value = there_and_back(0.2, t, duration)
    return pylibfranka.JointVelocities([value, 0.0, 0.0, 0.0, -value, 0.0, value])


def cartesian_pose(first: Any, t: float, duration: float) -> Any:
    pose = list(first.O_T_EE_c)
    pose[12] += there_and_back(0.01, t, duration)
    pose[14] += there_and_back(0.005, t, duration)
    return pylibfranka.CartesianPose(pose)


def cartesian_velocity(_: Any, t: float, duration: float) -> Any:
    value = there_and_back(0.1, t, duration)
    return pylibfranka.CartesianVelocities([value, 0.0, -value, 0.0, 0.0, 2 * value])


def torque(_: Any, t: float, duration: float) -> Any:
    return pylibfranka.Torques([0.0] * 6 + [there_and_back(0.3, t, duration)])


COMMANDS: dict[str, Callable[[Any, float, float], Any]] = {
    "joint_position": joint_position,
    "joint_velocity": joint_velocity,
    "cartesian_pose": cartesian_pose,
    "cartesian_velocity": cartesian_velocity,
    "torque": torque,
}


def start(robot: Any, command: str, mode: str) -> Any:
    if command == "torque":
        return robot.start_torque_control()
    return getattr(robot, f"start_{command}_control")(MODES[mode])


def follow(
    control: Any, command: str, duration: float, change: Callable[[float, Any], Any] = lambda _, c: c
) -> dict[str, Any]:
    """Run a motion to its end; `change` may spoil each command."""
    first, t, count, error, moved, success = None, 0.0, 0, 0.0, 0.0, 1.0
    begun = time.monotonic()
    while True:
        state, step = control.readOnce()
        first = first or state
        t, count = t + step.to_sec(), count + 1
        error = max(error, *(abs(a - b) for a, b in zip(state.q, state.q_d, strict=True)))
        moved = max(moved, *(abs(a - b) for a, b in zip(state.q, first.q, strict=True)))
        success = state.control_command_success_rate if count > 1 else success
        told = change(t, COMMANDS[command](first, t, duration))
        if t >= duration:
            rate = count / (time.monotonic() - begun)
            told.motion_finished = True
            control.writeOnce(told)
            break
        control.writeOnce(told)
    return {"rate_hz": rate, "error_rad": error, "moved_rad": moved, "success_rate": success}


def move(address: str, command: str, mode: str, duration: str) -> dict[str, Any]:
    robot = connect(address)
    robot.automatic_error_recovery()
    return follow(start(robot, command, mode), command, float(duration))


def start_only(address: str) -> dict[str, Any]:
    robot = connect(address)
    return {"started": str(start(robot, "joint_position", "joint"))}


def spoil(address: str, kind: str) -> dict[str, Any]:
    """Command what a real robot would not do, 50 ms after the beginning."""
    robot = connect(address)
    robot.automatic_error_recovery()
    command = {"torque_jump": "torque", "pose_jump": "cartesian_pose", "twist_jump": "cartesian_velocity"}.get(
        kind, "joint_velocity" if kind in {"jerk", "acceleration", "velocity", "unfinished"} else "joint_position"
    )

    # Where the last joint has most of its range.
    free = -1.0 if robot.read_once().q[6] > 0 else 1.0

    def change(t: float, told: Any) -> Any:
        late = t >= 0.05
        if kind == "start" or (kind == "position_jump" and late):
            told.q = [value + 0.1 for value in told.q]
        elif kind == "jerk" and late:
            told.dq = [told.dq[0] + 0.008, *told.dq[1:]]
        elif kind == "acceleration":
            told.dq = [min(4000e-6 * (t / 1e-3) * (t / 1e-3 + 1) / 2, 1.0), *told.dq[1:]]
        elif kind == "velocity":
            told.dq = [0.0] * 6 + [free * 6.0 * min(t / 0.9, 1.0) ** 2 * (3 - 2 * min(t / 0.9, 1.0))]
        elif kind == "unfinished":
            told.dq = [0.0] * 6 + [5.0 * t * min(t, 0.1)]
        elif kind == "torque_jump" and late:
            told.tau_J = [*told.tau_J[:6], told.tau_J[6] + 2.0]
        elif kind == "pose_jump" and late:
            told.O_T_EE = [*told.O_T_EE[:12], told.O_T_EE[12] + 0.02, *told.O_T_EE[13:]]
        elif kind == "twist_jump" and late:
            told.O_dP_EE = [told.O_dP_EE[0] + 0.1, *told.O_dP_EE[1:]]
        return told

    return follow(start(robot, command, "joint"), command, 1.0, change)


def everything_else(address: str) -> dict[str, Any]:
    """Settings, the model, the states that they show in, and refusals."""
    robot = connect(address)
    model, rest = robot.load_model(), robot.read_once()
    robot.set_joint_impedance([2000.0] * 7)
    robot.set_cartesian_impedance([1000.0] * 3 + [100.0] * 3)
    robot.set_collision_behavior([30.0] * 7, [60.0] * 7, [30.0] * 6, [60.0] * 6)
    shifted = [1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0.05, 1.0]
    robot.set_EE(shifted)
    robot.set_K(shifted)
    robot.set_load(0.2, [0.0, 0.0, 0.1], [1e-4, 0, 0, 0, 1e-4, 0, 0, 0, 1e-4])
    refusals = []
    for refused in (lambda: robot.set_joint_impedance([1e6] * 7), lambda: robot.set_load(50.0, [0.0] * 3, [0.0] * 9)):
        try:
            refused()
        except pylibfranka.CommandException as error:
            refusals.append(str(error))
    for _ in range(5):
        state = robot.read_once()
    names = ("q", "F_T_EE", "EE_T_K", "m_ee", "m_load", "F_x_Cload", "O_T_EE", "O_T_EE_d", "elbow")
    shown = {name: getattr(state, name) for name in names}
    shown = {name: value if isinstance(value, float) else list(value) for name, value in shown.items()}
    return {
        "state": shown,
        "mode": str(state.robot_mode),
        "refusals": refusals,
        "at_rest": {"tau_J": list(rest.tau_J), "gravity": list(model.gravity(rest))},
        "gravity": list(model.gravity(state)),
        "mass": list(model.mass(state)),
    }


def stop_from_another_thread(address: str) -> dict[str, Any]:
    robot = connect(address)
    control = start(robot, "joint_position", "joint")
    threading.Timer(0.3, robot.stop).start()
    return follow(control, "joint_position", 5.0)


def targets(address: str) -> dict[str, Any]:
    """Positions at a rate of their own: the robot plans the way itself."""
    robot = connect(address)
    handlers = pylibfranka.AsyncPositionControlHandler
    configured = handlers.configure(robot, handlers.Configuration([0.5] * 7, 0.005))
    if configured.error_message:
        raise RuntimeError(configured.error_message)
    goal = list(robot.read_once().q)
    goal[0] += 0.1
    said = configured.handler.set_joint_position_target(handlers.JointPositionTarget(goal))
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        feedback = configured.handler.get_target_feedback()
        if feedback.status == pylibfranka._pylibfranka.TargetStatus.kTargetReached:
            break
        time.sleep(0.01)
    status = str(feedback.status)
    configured.handler.stop_control()
    return {"accepted": said.was_successful, "status": status, "off": robot.read_once().q[0] - goal[0]}


def gripper(address: str) -> dict[str, Any]:
    hand = pylibfranka.Gripper(address)
    out: dict[str, Any] = {"version": hand.server_version(), "homing": hand.homing(), "open": hand.read_once().width}
    out["move"] = hand.move(0.05, 0.1)
    out["width"] = hand.read_once().width
    out["missed"] = hand.grasp(0.02, 0.1, 20.0)
    try:
        hand.move(1.0, 0.1)
    except pylibfranka.CommandException as error:
        out["refused"] = str(error)
    return out


def grasp(address: str, width: str) -> dict[str, Any]:
    hand = pylibfranka.Gripper(address)
    caught = hand.grasp(float(width), 0.1, 20.0)
    state = hand.read_once()
    return {"caught": caught, "width": state.width, "is_grasped": state.is_grasped}


def every_reflex(address: str, control_path: str, names: str) -> dict[str, Any]:
    """One motion for each error; what the client said of it, and whether it could go on after recovery."""
    robot, said = connect(address), {}
    for name in names.split(","):
        control = start(robot, "joint_position", "joint")
        state, _ = control.readOnce()
        try:
            for index in range(2000):
                control.writeOnce(pylibfranka.JointPositions(list(state.q_d)))
                if index == 3:
                    ask(control_path, f"reflex {name}")
                control.readOnce()
        except pylibfranka.ControlException as error:
            said[name] = str(error)
        del control
        robot.automatic_error_recovery()
    return {"said": said}


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
