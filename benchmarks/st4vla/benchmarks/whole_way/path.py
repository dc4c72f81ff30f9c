"""A commanded path against what a Franka allows: differences of successive commands at 1 kHz."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

TICK_S = 1e-3
#: Research 3, as Franka publishes them: velocity, acceleration and jerk of translation (m) and rotation (rad).
#: https://frankarobotics.github.io/docs/robot_specifications.html
TRANSLATION_LIMITS, ROTATION_LIMITS = (3.0, 9.0, 4500.0), (2.5, 17.0, 8500.0)
NAMES = ("velocity", "acceleration", "jerk")


def shares_of_limits(positions_m: Array, quaternions_wxyz: Array) -> dict[str, float]:
    """Return the largest velocity, acceleration and jerk of a path, each as a share of its limit.

    Args:
        positions_m: [N, 3], one a millisecond.
        quaternions_wxyz: [N, 4].
    """
    moves = np.diff(positions_m, axis=0) / TICK_S
    turns = turn_vectors(quaternions_wxyz) / TICK_S
    shares = {}
    for kind, velocity, limits in (
        ("translation", moves, TRANSLATION_LIMITS),
        ("rotation", turns, ROTATION_LIMITS),
    ):
        derivative = velocity
        for name, limit in zip(NAMES, limits, strict=True):
            lengths = np.linalg.norm(derivative, axis=1)
            shares[f"{kind}_{name}"] = round(float(lengths.max(initial=0.0)) / limit, 4)
            derivative = np.diff(derivative, axis=0) / TICK_S
    return shares


def turn_vectors(quaternions_wxyz: Array) -> Array:
    """Return the rotation vectors [N - 1, 3], base frame, that lead from each quaternion [N, 4] to the next."""
    before, after = quaternions_wxyz[:-1], quaternions_wxyz[1:]
    w = (after * before).sum(1)
    # The product of `after` and the conjugate of `before`: its vector part.
    vector = before[:, :1] * after[:, 1:] - after[:, :1] * before[:, 1:] - np.cross(after[:, 1:], before[:, 1:])
    length = np.linalg.norm(vector, axis=1)
    angle = 2.0 * np.arctan2(length, np.abs(w))
    scale = np.where(length > 1e-12, angle / np.maximum(length, 1e-12), 2.0) * np.sign(np.where(w == 0.0, 1.0, w))
    turns: Array = vector * scale[:, None]
    return turns


def speeds(positions_m: Array, quaternions_wxyz: Array) -> tuple[Array, Array]:
    """Return how fast each command moves, m/s, and turns, rad/s; [N - 1]."""
    moves = np.linalg.norm(np.diff(positions_m, axis=0), axis=1) / TICK_S
    turns = np.linalg.norm(turn_vectors(quaternions_wxyz), axis=1) / TICK_S
    return moves, turns
