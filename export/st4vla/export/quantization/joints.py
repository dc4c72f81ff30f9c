"""How far apart two chunks of actions bring a Panda's joints.

Kinematics are the Denavit-Hartenberg parameters that Franka publishes for the Panda and the FR3 (Craig's convention).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from st4vla.contracts.action import ActionSpec
from st4vla.contracts.messages import ActionRepresentation

Floats = npt.NDArray[np.float64]
#: a in metres, d in metres and alpha in radians of each joint; what follows is the flange, and the hand's fingertips.
_A = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
_D = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)
_ALPHA = (0.0, -np.pi / 2, np.pi / 2, np.pi / 2, -np.pi / 2, np.pi / 2, np.pi / 2)
_FINGERTIPS_M = 0.107 + 0.1034
#: The pose that Franka's examples begin with.
READY_RAD = (0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4)


def jacobian(joints_rad: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the position [3] in metres of the fingertips in the base frame, and their Jacobian [6, 7].

    Rows are metres and radians per radian of each joint.
    """
    pose = np.eye(4)
    axes, origins = [], []
    for a, d, alpha, angle in zip(_A, _D, _ALPHA, np.asarray(joints_rad, np.float64), strict=True):
        pose = pose @ _link(a, d, alpha, angle)
        axes.append(pose[:3, 2])
        origins.append(pose[:3, 3])
    tip = pose[:3, 3] + pose[:3, 2] * _FINGERTIPS_M
    columns = [np.concatenate([np.cross(axis, tip - origin), axis]) for axis, origin in zip(axes, origins, strict=True)]
    return tip, np.stack(columns, axis=1)


def joint_error_rad(spec: ActionSpec, expected: npt.ArrayLike, actual: npt.ArrayLike) -> float:
    """Return by how much a joint differs at most while two chunks are carried out, in radians.

    Movements of the end effector become those of joints by the pseudo-inverse of the Jacobian in `READY_RAD`, the pose
    that a policy's data usually begin in; deltas add up along the chunk.

    Args:
        spec: What the actions are.
        expected: One chunk [T, A] in the robot's units.
        actual: The other one.
    """
    difference = np.asarray(actual, np.float64) - np.asarray(expected, np.float64)
    if spec.gripper_index is not None:
        difference = np.delete(difference, spec.gripper_index, axis=1)
    if spec.representation is not ActionRepresentation.JOINT_POSITION:
        difference = difference.cumsum(axis=0)
    if spec.representation is ActionRepresentation.EE_DELTA:
        difference = difference @ np.linalg.pinv(jacobian(READY_RAD)[1]).T
    return float(np.abs(difference).max())


def _link(a: float, d: float, alpha: float, angle: float) -> Floats:
    cos, sin, cos_a, sin_a = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
    return np.array(
        [
            [cos, -sin, 0, a],
            [sin * cos_a, cos * cos_a, -sin_a, -d * sin_a],
            [sin * sin_a, cos * sin_a, cos_a, d * cos_a],
            [0, 0, 0, 1],
        ]
    )
