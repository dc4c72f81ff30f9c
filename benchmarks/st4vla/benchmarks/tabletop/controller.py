"""Move the hand to a pose: damped least squares to joint targets, joint impedance to motor torques."""

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from st4vla.benchmarks.tabletop.assets import ARM_JOINTS, ARM_MOTORS, EE_SITE_NAME
from st4vla.benchmarks.tabletop.workspace import vector_from_rotation

Array = NDArray[np.float64]

POSTURE_RAD = np.array([0.0, 0.1, 0.0, -2.3, 0.0, 2.4, np.pi / 4])
"""The home pose, gripper straight down; the redundant joint is drawn back to it."""
DAMPING = 0.03
POSTURE_GAIN = 0.1
IK_ITERATIONS = 8
IK_TOLERANCE = 1e-5
JOINT_MARGIN_RAD = 0.05
MAX_JOINT_SPEED_RAD_S = 2.0
"""Just under the Panda's own limit of 2.175 rad/s."""
STIFFNESS_PER_INERTIA = 40.0**2
"""Square of the closed loop's natural frequency, rad^2/s^2; multiplied by the arm's inertia it is the stiffness."""
DAMPING_PER_INERTIA = 2.0 * 40.0
"""Critical damping, 1/s."""


class ArmController:
    """Plan one control period's joint motion, then track it at the physics rate.

    Inverse kinematics runs on a private copy of the state, so planning never disturbs the simulation.
    """

    def __init__(self, model: Any) -> None:
        """Look up the arm in a model built by `build_spec`."""
        self._model = model
        self._scratch = mujoco.MjData(model)
        joints = [model.joint(name) for name in ARM_JOINTS]
        self.qpos = np.array([joint.qposadr[0] for joint in joints])
        self.dofs = np.array([joint.dofadr[0] for joint in joints])
        self.motors = np.array([model.actuator(name).id for name in ARM_MOTORS])
        self.site = int(model.site(EE_SITE_NAME).id)
        limits = np.array([joint.range for joint in joints])
        self._low, self._high = limits[:, 0] + JOINT_MARGIN_RAD, limits[:, 1] - JOINT_MARGIN_RAD
        self._torque_limits = np.array(model.actuator_ctrlrange[self.motors, 1])
        self._start = self._goal = POSTURE_RAD.copy()
        self._velocity = np.zeros(7)
        self._inertia = np.eye(7)
        self._full = np.zeros((model.nv, model.nv))

    def reset(self, joint_positions: Array) -> None:
        """Hold these joint positions [7], radians."""
        self._start = self._goal = joint_positions.copy()
        self._velocity = np.zeros(7)

    def solve(self, world_t_target: Array, start: Array) -> Array:
        """Find joint positions that put the hand at a pose, by damped least squares from a start.

        Joints that the pose leaves free are drawn to the posture in the Jacobian's null space (Siciliano, "Kinematic
        control of redundant robot manipulators", 1990).

        Args:
            world_t_target: Wanted pose of the point between the fingertips, world frame, [4, 4].
            start: Joint positions to begin from, radians, [7].

        Returns:
            Joint positions within the limits, radians, [7]; the nearest found when the pose is out of reach.
        """
        joints: Array = start.copy()
        jacobian_p, jacobian_r = np.zeros((3, self._model.nv)), np.zeros((3, self._model.nv))
        for _ in range(IK_ITERATIONS):
            self._scratch.qpos[self.qpos] = joints
            mujoco.mj_kinematics(self._model, self._scratch)
            mujoco.mj_comPos(self._model, self._scratch)
            mujoco.mj_jacSite(self._model, self._scratch, jacobian_p, jacobian_r, self.site)
            jacobian = np.concatenate([jacobian_p[:, self.dofs], jacobian_r[:, self.dofs]])
            turn = world_t_target[:3, :3] @ self._scratch.site_xmat[self.site].reshape(3, 3).T
            error = np.concatenate(
                [world_t_target[:3, 3] - self._scratch.site_xpos[self.site], vector_from_rotation(turn)]
            )
            inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + DAMPING**2 * np.eye(6))
            posture = POSTURE_GAIN * (POSTURE_RAD - joints)
            step = inverse @ error + posture - inverse @ (jacobian @ posture)
            joints = np.clip(joints + step, self._low, self._high)
            if float(np.abs(error).max()) < IK_TOLERANCE:
                break
        return joints

    def plan(self, data: Any, world_t_target: Array, period_s: float) -> None:
        """Set the joint motion of the next control period: straight from the last goal to the target's joints.

        A motion faster than the joints' limit is shortened, not stretched, so each period ends on time.
        """
        goal = self.solve(world_t_target, self._goal)
        move = goal - self._goal
        fastest = float(np.abs(move).max())
        move = move * min(1.0, MAX_JOINT_SPEED_RAD_S * period_s / max(fastest, 1e-12))
        self._start, self._goal = self._goal, self._goal + move
        self._velocity = move / period_s
        mujoco.mj_fullM(self._model, self._full, data.qM)
        self._inertia = self._full[np.ix_(self.dofs, self.dofs)].copy()

    def track(self, data: Any, share: float) -> None:
        """Write motor torques, N m, for the point at a share in (0, 1] of the planned motion.

        Stiffness and damping are the arm's inertia times two constants, so every joint answers equally fast. Gravity
        is cancelled by the model itself, as a Franka's own controller does. Torques beyond a motor's limit shorten all
        seven alike, which keeps the motion's direction.
        """
        reference = self._start + share * (self._goal - self._start)
        errors = STIFFNESS_PER_INERTIA * (reference - data.qpos[self.qpos])
        errors += DAMPING_PER_INERTIA * (self._velocity - data.qvel[self.dofs])
        torques = self._inertia @ errors
        share_allowed = float((self._torque_limits / np.maximum(np.abs(torques), 1e-9)).min())
        data.ctrl[self.motors] = torques * min(1.0, share_allowed)
