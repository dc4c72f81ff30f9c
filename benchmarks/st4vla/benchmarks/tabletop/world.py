"""The tabletop as a robot to be commanded: one step is one control period."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from st4vla.benchmarks.tabletop.assets import (
    BASE_X_M,
    FINGER_JOINTS,
    FINGER_MOTORS,
    OBJECTS,
    TABLE_HEIGHT_M,
    TIMESTEP_NS,
    build_spec,
)
from st4vla.benchmarks.tabletop.controller import POSTURE_RAD, ArmController
from st4vla.benchmarks.tabletop.workspace import Workspace

Array = NDArray[np.float64]

FINGER_TRAVEL_M = 0.04
PLACE_LOW_M, PLACE_HIGH_M = (0.42, -0.22), (0.66, 0.22)
"""Where objects are put: x and y in the base frame, metres."""
PLACE_APART_M = 0.12
PLACE_TRIES = 1000
HOME_JITTER_M = 0.02
SETTLE_STEPS = 50


@dataclass(frozen=True)
class ArmState:
    """What the robot measures.

    Attributes:
        joint_positions: Radians, [7].
        joint_velocities: Radians per second, [7].
        base_T_ee: Pose of the point between the fingertips in the base frame, [4, 4].
        gripper_width_m: Distance between the fingers, 0 to 0.08.
    """

    joint_positions: Array
    joint_velocities: Array
    base_T_ee: Array  # noqa: N815 - frames are named as in the field
    gripper_width_m: float


class Tabletop:
    """A Panda at a table with the objects of `OBJECTS`, commanded by hand deltas.

    The base frame stands on the table's height: x forward, y left, z up. Equal seeds and actions give equal
    trajectories, bit for bit.
    """

    def __init__(
        self, *, seed: int = 0, control_period_ns: int = 50_000_000, workspace: Workspace | None = None
    ) -> None:
        """Build the scene and reset it.

        Args:
            seed: Seed of the objects' places.
            control_period_ns: Length of one `step`, a multiple of the physics step of 2 ms.
            workspace: Limits of the commanded pose; the default fits the table.

        Raises:
            FileNotFoundError: robosuite's assets are missing.
            ValueError: The period is not a positive multiple of the physics step.
        """
        if control_period_ns <= 0 or control_period_ns % TIMESTEP_NS:
            raise ValueError(
                f"control_period_ns must be a positive multiple of {TIMESTEP_NS}, the physics step, "
                f"not {control_period_ns}"
            )
        self.control_period_ns = control_period_ns
        self.workspace = workspace or Workspace()
        self.clamped_commands = 0
        self.model: Any = build_spec().compile()
        self.data: Any = mujoco.MjData(self.model)
        self._arm = ArmController(self.model)
        self._fingers = [int(self.model.joint(name).qposadr[0]) for name in FINGER_JOINTS]
        self._finger_motors = [int(self.model.actuator(name).id) for name in FINGER_MOTORS]
        self._free = {name: int(self.model.joint(name).qposadr[0]) for name in OBJECTS}
        self._base_m = np.array([BASE_X_M, 0.0, TABLE_HEIGHT_M])
        self._base_t_target = np.eye(4)
        self._steps = 0
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Put the arm at home with the gripper open, and the objects at random, apart and within reach."""
        generator = np.random.default_rng(seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._arm.qpos] = POSTURE_RAD
        self.data.qpos[self._fingers] = [FINGER_TRAVEL_M, -FINGER_TRAVEL_M]
        self._place_objects(generator)
        mujoco.mj_forward(self.model, self.data)
        home = self.base_T_ee
        home[:3, 3] += generator.uniform(-HOME_JITTER_M, HOME_JITTER_M, 3)
        joints = self._arm.solve(self._to_world(home), POSTURE_RAD)
        self.data.qpos[self._arm.qpos] = joints
        mujoco.mj_forward(self.model, self.data)
        self._arm.reset(joints)
        self._base_t_target = self.base_T_ee
        self._command_gripper(1.0)
        self._arm.plan(self.data, self._to_world(self._base_t_target), self.control_period_ns * 1e-9)
        self._simulate(SETTLE_STEPS)
        self.data.time = 0.0
        self._steps = 0
        self.clamped_commands = 0

    def put(self, name: str, place_m: ArrayLike) -> None:
        """Let an object lie elsewhere from now on: x and y in the base frame, metres, [2]; its turn stays."""
        start, motion = self._free[name], int(self.model.joint(name).dofadr[0])
        height_m = self._base_m[2] + OBJECTS[name].rest_height_m
        self.data.qpos[start : start + 3] = [*(self._base_m[:2] + np.asarray(place_m)), height_m]
        self.data.qvel[motion : motion + 6] = 0.0
        mujoco.mj_forward(self.model, self.data)

    def step(self, action: ArrayLike) -> None:
        """Run one control period.

        Args:
            action: [7]: the hand's move dx, dy, dz in metres and its turn as a rotation vector in radians, both in the
                base frame and counted from the last commanded pose; then the gripper, 1 open to 0 closed. A move out
                of the workspace is clamped and counted in `clamped_commands`; so is a gripper outside [0, 1].

        Raises:
            ValueError: The action has another shape or is not finite.
        """
        command = _checked(action)
        period_s = self.control_period_ns * 1e-9
        gripper = float(np.clip(command[6], 0.0, 1.0))
        self._base_t_target, clamped = self.workspace.advance(
            self._base_t_target, self.base_T_ee, command[:6], period_s
        )
        self.clamped_commands += clamped or gripper != command[6]
        self._command_gripper(gripper)
        self._arm.plan(self.data, self._to_world(self._base_t_target), period_s)
        self._simulate(self.control_period_ns // TIMESTEP_NS)
        self._steps += self.control_period_ns // TIMESTEP_NS

    def show(self, joint_positions: ArrayLike, gripper_width_m: float) -> None:
        """Put the arm where another process has it, without simulating anything: for its cameras alone.

        Args:
            joint_positions: Radians, [7].
            gripper_width_m: Between the fingers.
        """
        finger_m = min(max(gripper_width_m / 2, 0.0), FINGER_TRAVEL_M)
        self.data.qpos[self._arm.qpos] = joint_positions
        self.data.qpos[self._fingers] = [finger_m, -finger_m]
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    @property
    def robot_state(self) -> ArmState:
        """What the robot measures now; the arrays are copies."""
        left, right = self.data.qpos[self._fingers]
        return ArmState(
            joint_positions=self.data.qpos[self._arm.qpos].copy(),
            joint_velocities=self.data.qvel[self._arm.dofs].copy(),
            base_T_ee=self.base_T_ee,
            gripper_width_m=float(left - right),
        )

    @property
    def base_T_ee(self) -> Array:  # noqa: N802 - frames are named as in the field
        """Pose of the point between the fingertips in the base frame, [4, 4]; z is the approach axis."""
        pose = np.eye(4)
        pose[:3, :3] = self.data.site_xmat[self._arm.site].reshape(3, 3)
        pose[:3, 3] = self.data.site_xpos[self._arm.site] - self._base_m
        return pose

    @property
    def object_poses(self) -> dict[str, Array]:
        """Pose of each object in the base frame, [4, 4], by name; z = 0 is the table's top."""
        poses = {}
        for name in OBJECTS:
            body = self.data.body(name)
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = body.xmat.reshape(3, 3), body.xpos - self._base_m
            poses[name] = pose
        return poses

    @property
    def time_ns(self) -> int:
        """Simulated time since the reset, nanoseconds."""
        return self._steps * TIMESTEP_NS

    def close(self) -> None:
        """Free the simulation; only `close` may be called afterwards."""
        self.data = self.model = None

    def __enter__(self) -> "Tabletop":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _simulate(self, steps: int) -> None:
        """Track the planned motion for some physics steps, then bring the poses up to date with the joints."""
        for step in range(steps):
            self._arm.track(self.data, min(1.0, (step + 1) / steps))
            mujoco.mj_step(self.model, self.data)
        mujoco.mj_kinematics(self.model, self.data)

    def _command_gripper(self, opening: float) -> None:
        """Send both fingers to a share of their travel, 1 open to 0 closed."""
        self.data.ctrl[self._finger_motors] = [FINGER_TRAVEL_M * opening, -FINGER_TRAVEL_M * opening]

    def _place_objects(self, generator: np.random.Generator) -> None:
        """Draw places until each object is apart from those before it."""
        placed: list[Array] = []
        for name, thing in OBJECTS.items():
            for _ in range(PLACE_TRIES):
                place = generator.uniform(PLACE_LOW_M, PLACE_HIGH_M)
                if all(float(np.linalg.norm(place - other)) >= PLACE_APART_M for other in placed):
                    break
            else:
                raise RuntimeError(
                    f"found no free place for {name!r} in {PLACE_TRIES} tries; PLACE_APART_M is too large"
                )
            placed.append(place)
            yaw_rad = generator.uniform(-np.pi / 4, np.pi / 4)
            start = self._free[name]
            self.data.qpos[start : start + 3] = self._base_m + np.array([place[0], place[1], thing.rest_height_m])
            self.data.qpos[start + 3 : start + 7] = [np.cos(yaw_rad / 2), 0.0, 0.0, np.sin(yaw_rad / 2)]

    def _to_world(self, base_t_pose: Array) -> Array:
        """Express a pose of the base frame in the world frame, [4, 4]; the base is not turned."""
        pose: Array = base_t_pose.copy()
        pose[:3, 3] += self._base_m
        return pose


def _checked(action: ArrayLike) -> Array:
    """Return the action as floats [7], or say what is wrong with it."""
    command = np.asarray(action, dtype=np.float64)
    if command.shape != (7,):
        raise ValueError(
            f"an action has shape (7,): dx, dy, dz, rx, ry, rz, gripper; this one has shape {command.shape}"
        )
    if not np.isfinite(command).all():
        raise ValueError(f"an action must be finite; this one is {command.tolist()}")
    return command
