"""A scripted pick: proof that the world can be manipulated, and a teacher for training data."""

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from st4vla.benchmarks.tabletop.assets import OBJECTS
from st4vla.benchmarks.tabletop.workspace import shortened, vector_from_rotation
from st4vla.benchmarks.tabletop.world import ArmState, Tabletop

Array = NDArray[np.float64]

ABOVE_M = 0.12
LIFT_M = 0.20
LIFTED_M = 0.10
GRASP_HEIGHT_M = 0.020
GAIN = 0.5
MAX_MOVE_M = 0.025
MAX_TURN_RAD = 0.09
NEAR_M = 0.008
NEAR_RAD = 0.05
STOPPED_M = 0.0005


class Stage(Enum):
    """Where the pick is."""

    ABOVE = "above"
    DOWN = "down"
    CLOSE = "close"
    LIFT = "lift"
    DONE = "done"


class ScriptedPick:
    """Go above the object, down, close, lift; each call gives one action."""

    def __init__(self, name: str) -> None:
        """Aim at one object.

        Raises:
            ValueError: There is no object of that name.
        """
        if name not in OBJECTS:
            raise ValueError(f"there is no object {name!r} on the table; there are: {', '.join(OBJECTS)}")
        self.name = name
        self.stage = Stage.ABOVE
        self._widths_m: list[float] = []
        self._grasp = np.eye(4)

    @property
    def done(self) -> bool:
        """Whether the object hangs from the gripper, clear of the table."""
        return self.stage is Stage.DONE

    def act(self, state: ArmState, object_poses: dict[str, Array]) -> Array:
        """Give the next action, [7] as `Tabletop.step` takes it, from what is now true of the world."""
        base_t_object = object_poses[self.name]
        if self.stage in (Stage.ABOVE, Stage.DOWN):
            self._grasp = _grasp_pose(base_t_object)
        self._advance(state, base_t_object)
        goal = self._grasp.copy()
        if self.stage is Stage.ABOVE:
            goal[2, 3] = ABOVE_M
        elif self.stage in (Stage.LIFT, Stage.DONE):
            goal[2, 3] = LIFT_M
        return toward(goal, state, opening=1.0 if self.stage in (Stage.ABOVE, Stage.DOWN) else 0.0)

    def _advance(self, state: ArmState, base_t_object: Array) -> None:
        """Go to the next stage when this one's goal is reached."""
        away = self._grasp[:3, 3] - state.base_T_ee[:3, 3]
        turn = float(np.linalg.norm(vector_from_rotation(self._grasp[:3, :3] @ state.base_T_ee[:3, :3].T)))
        if self.stage is Stage.ABOVE and float(np.linalg.norm(away[:2])) < NEAR_M and turn < NEAR_RAD:
            self.stage = Stage.DOWN
        elif self.stage is Stage.DOWN and float(np.linalg.norm(away)) < NEAR_M:
            self.stage = Stage.CLOSE
        elif self.stage is Stage.CLOSE:
            # Cameras see it too when the fingers stop; a number of steps could not be learnt from single frames.
            self._widths_m.append(state.gripper_width_m)
            if self._widths_m[0] - self._widths_m[-1] > STOPPED_M > self._widths_m[-2] - self._widths_m[-1]:
                self.stage = Stage.LIFT
        elif self.stage is Stage.LIFT and base_t_object[2, 3] > LIFTED_M:
            self.stage = Stage.DONE


def toward(goal: Array, state: ArmState, *, opening: float) -> Array:
    """Give the action [7] that brings the hand nearer to a pose of the base frame [4, 4]."""
    move = shortened(GAIN * (goal[:3, 3] - state.base_T_ee[:3, 3]), MAX_MOVE_M)[0]
    turn = shortened(GAIN * vector_from_rotation(goal[:3, :3] @ state.base_T_ee[:3, :3].T), MAX_TURN_RAD)[0]
    return np.concatenate([move, turn, [opening]])


def pick(world: Tabletop, name: str, *, max_steps: int = 200) -> bool:
    """Run a scripted pick in a world until it is done, and say whether the object was lifted."""
    policy = ScriptedPick(name)
    for _ in range(max_steps):
        world.step(policy.act(world.robot_state, world.object_poses))
        if policy.done:
            return True
    return False


def _grasp_pose(base_t_object: Array) -> Array:
    """Point the gripper down at the object, fingers along the nearest pair of its sides, [4, 4]."""
    quarter = np.pi / 2
    yaw = float(np.arctan2(base_t_object[1, 0], base_t_object[0, 0]))
    yaw -= quarter * round(yaw / quarter)
    pose = np.eye(4)
    cosine, sine = np.cos(yaw), np.sin(yaw)
    pose[:3, :3] = [[cosine, sine, 0.0], [sine, -cosine, 0.0], [0.0, 0.0, -1.0]]
    pose[:3, 3] = [base_t_object[0, 3], base_t_object[1, 3], max(GRASP_HEIGHT_M, base_t_object[2, 3] - 0.004)]
    return pose
