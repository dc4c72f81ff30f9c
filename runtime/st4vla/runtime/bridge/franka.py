"""A Franka arm through pylibfranka, for the control loop: where libfranka's headers are not installed.

With them, `firmware_bridge/src/franka` does the same in C++ and should be used: here the interpreter runs twice in each
millisecond, about 50 us, and holds its lock while it waits for the robot.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec

from st4vla.contracts.errors import MissingExtraError, TransportError
from st4vla.runtime.bridge.control import GripperProcess, RobotState
from st4vla.runtime.bridge.franka_hand import FrankaHand
from st4vla.runtime.bridge.player import Setpoint
from st4vla.runtime.real_time import kept_scheduling

JOINTS = 7
#: libfranka's matrices are column-major, ours are not.
TRANSPOSED = tuple(4 * (index % 4) + index // 4 for index in range(16))
#: pylibfranka holds Python's lock while it waits for the robot. Threads that share the loop's core would never get it,
#: and no signal would be heard. So after some cycles it sleeps a moment without the lock.
GIVES_WAY_EVERY, GIVES_WAY_S = 32, 50e-6
#: Who was given the lock must give it back while the robot waits; the interpreter's own 5 ms are five commands.
SWITCH_INTERVAL_S = 1e-4
#: Errors after which somebody must look at the arm before it may go on.
COLLISIONS = (
    "joint_reflex",
    "cartesian_reflex",
    "self_collision_avoidance_violation",
    "tau_j_range_violation",
    "force_control_safety_violation",
)


class FrankaConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the arm is commanded.

    Attributes:
        joints: Joint positions instead of Cartesian poses.
        real_time: Refuse to run without real-time priority, as libfranka does.
        gripper: There is a Franka Hand.
        torque_Nm: Of each joint, from which the arm stops.
        force_N: Of the hand, N and N m, from which it stops.
        gripper_width_m: When open.
        gripper_speed_m_s: Of its fingers.
        gripper_force_N: Of a grasp.
    """

    joints: bool = False
    real_time: bool = True
    gripper: bool = True
    torque_Nm: tuple[float, ...] = (20.0,) * JOINTS  # noqa: N815 - units are written as in the field
    force_N: tuple[float, ...] = (20.0,) * 3 + (25.0,) * 3  # noqa: N815
    gripper_width_m: float = 0.08
    gripper_speed_m_s: float = 0.1
    gripper_force_N: float = 20.0  # noqa: N815


class Franka:
    """A robot for `ControlLoop`.

    Args:
        address: The arm's, without a port.
        config: How it is commanded.

    Raises:
        MissingExtraError: pylibfranka is not installed.
        TransportError: No robot answers, or it refuses its settings.
    """

    def __init__(self, address: str, config: FrankaConfig | None = None) -> None:
        try:
            import pylibfranka  # noqa: PLC0415 - an extra
        except ImportError as error:
            msg = f"pylibfranka cannot be imported ({error}); install it with: pip install 'st4vla[franka]'"
            raise MissingExtraError(msg) from error
        config = config or FrankaConfig()
        self.joints = config.joints
        self._library: Any = pylibfranka
        mode = pylibfranka.RealtimeConfig.kEnforce if config.real_time else pylibfranka.RealtimeConfig.kIgnore
        try:
            with kept_scheduling():
                self._robot = pylibfranka.Robot(address, mode)
            torques, forces = list(config.torque_Nm), list(config.force_N)
            self._robot.set_collision_behavior(torques, torques, forces, forces)
        except Exception as error:
            msg = f"no Franka at {address} that can be controlled: {error}"
            raise TransportError(msg) from error
        self._hand = (
            FrankaHand(address, config.gripper_width_m, config.gripper_speed_m_s, config.gripper_force_N)
            if config.gripper
            else None
        )
        self.gripper_process = None if self._hand is None else GripperProcess(*self._hand.files)
        self._active: Any = None
        self._cycles = 0
        sys.setswitchinterval(SWITCH_INTERVAL_S)

    def read(self, state: RobotState) -> None:
        """Wait for the next millisecond; the first call starts the motion."""
        if self._active is None:
            mode = self._library.ControllerMode.JointImpedance
            start = (
                self._robot.start_joint_position_control if self.joints else self._robot.start_cartesian_pose_control
            )
            self._active = start(mode)
        try:
            measured, since = self._active.readOnce()
        except Exception:
            # A motion that was cut off cannot be written to any more.
            self._active = None
            raise
        state.ticks = round(since.to_sec() * 1000)
        state.joint_count = JOINTS
        state.joint_positions_rad[:JOINTS] = measured.q
        state.joint_velocities_rad_s[:JOINTS] = measured.dq
        state.commanded_positions_rad[:JOINTS] = measured.q_d
        pose, commanded = measured.O_T_EE, measured.O_T_EE_c
        state.base_T_ee[:] = [pose[index] for index in TRANSPOSED]
        state.commanded_base_T_ee[:] = [commanded[index] for index in TRANSPOSED]

    def write(self, setpoint: Setpoint, *, last: bool) -> None:
        """Command a setpoint; the last one ends the motion."""
        if self.joints:
            command = self._library.JointPositions(setpoint.joint_positions_rad[:JOINTS])
        else:
            pose = setpoint.base_T_ee
            command = self._library.CartesianPose([pose[index] for index in TRANSPOSED])
        command.motion_finished = last
        try:
            self._active.writeOnce(command)
        except Exception:
            self._active = None
            raise
        if last:
            self._active = None
        self._cycles += 1
        if self._cycles % GIVES_WAY_EVERY == 0:
            time.sleep(GIVES_WAY_S)

    def recover(self, *, looked: bool = False) -> None:
        """Clear the error that ended a run, so that another may begin; nothing moves.

        Args:
            looked: Somebody looked at the arm after a collision, and it may go on.

        Raises:
            TransportError: Somebody must look first, or the robot refuses.
        """
        state = self._robot.read_once()
        modes = self._library.RobotMode
        errors = [name for name in COLLISIONS if getattr(state.last_motion_errors, name)]
        if state.robot_mode in {modes.UserStopped, modes.Guiding} or (errors and not looked):
            said = ", ".join(errors) or str(state.robot_mode)
            msg = f"the arm needs somebody to look at it first ({said}); then recover with looked=True"
            raise TransportError(msg)
        try:
            self._robot.automatic_error_recovery()
        except Exception as error:
            msg = f"the robot refuses to recover: {error}"
            raise TransportError(msg) from error

    def close(self) -> None:
        """End the hand's process."""
        if self._hand is not None:
            self._hand.close()
