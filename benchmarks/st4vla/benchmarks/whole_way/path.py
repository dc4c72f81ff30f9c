"""The path that a robot was sent against what a Franka allows: differences of poses, a millisecond apart.

The poses are those that the robot tells of, in single precision: of the jerk, some tens of m/s^3 are rounding. The
limits are written down here once more, as the player and the virtual Franka have them each for itself: a judge that
asks the judged for its measure finds no mistake in it. A test holds the player's to them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

TICK_S = 1e-3
#: Research 3, as Franka publishes them: velocity, acceleration and jerk of translation (m) and rotation (rad).
#: https://frankarobotics.github.io/docs/robot_specifications.html
TRANSLATION_LIMITS, ROTATION_LIMITS = (3.0, 9.0, 4500.0), (2.5, 17.0, 8500.0)
NAMES = ("velocity", "acceleration", "jerk")


def shares_of_limits(poses: Array, ticks: Array) -> dict[str, float]:
    """Return the largest velocity, acceleration and jerk of a path, each as a share of its limit.

    Args:
        poses: [N, 3, 4], rotation and translation in metres.
        ticks: Milliseconds from the pose before, [N]; where it is not 1, nothing is known of what lies between.
    """
    moves = np.diff(poses[:, :, 3], axis=0) / TICK_S
    turns = turn_vectors(poses[:, :, :3]) / TICK_S
    shares = {}
    for kind, velocity, limits in (("translation", moves, TRANSLATION_LIMITS), ("rotation", turns, ROTATION_LIMITS)):
        derivative, whole = velocity, ticks[1:] == 1
        for name, limit in zip(NAMES, limits, strict=True):
            lengths = np.linalg.norm(derivative[whole], axis=1)
            shares[f"{kind}_{name}"] = round(float(lengths.max(initial=0.0)) / limit, 4)
            derivative, whole = np.diff(derivative, axis=0) / TICK_S, whole[1:] & whole[:-1]
    return shares


def turn_vectors(rotations: Array) -> Array:
    """Return the rotation vectors [N - 1, 3], base frame, that lead from each rotation [N, 3, 3] to the next."""
    turns = rotations[1:] @ rotations[:-1].transpose(0, 2, 1)
    # A millisecond's turn is small: its sine is in the skew part, to the last digit.
    skew = turns - turns.transpose(0, 2, 1)
    sines = 0.5 * np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=1)
    lengths = np.linalg.norm(sines, axis=1, keepdims=True)
    angles = np.arcsin(np.minimum(lengths, 1.0))
    vectors: Array = sines * np.where(lengths > 1e-12, angles / np.maximum(lengths, 1e-12), 1.0)
    return vectors


def speeds(poses: Array) -> tuple[Array, Array]:
    """Return how fast poses [N, 3, 4] move, m/s, and turn, rad/s, from each to the next: [N - 1]."""
    moves = np.linalg.norm(np.diff(poses[:, :, 3], axis=0), axis=1) / TICK_S
    turns = np.linalg.norm(turn_vectors(poses[:, :, :3]), axis=1) / TICK_S
    return moves, turns
