"""Keep a commanded hand pose within a box, a tilt, a turn and a step, so that no policy output can do harm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DOWN = np.array([0.0, 0.0, -1.0])


def rotation_from_vector(vector_rad: Array) -> Array:
    """Turn a rotation vector [3], radians, into a matrix [3, 3] (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector_rad))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector_rad / angle
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation: Array = np.eye(3) + np.sin(angle) * skew + (1.0 - np.cos(angle)) * (skew @ skew)
    return rotation


def vector_from_rotation(rotation: Array) -> Array:
    """Turn a rotation matrix [3, 3] into its rotation vector [3], radians, of length up to pi."""
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    sine, cosine = float(np.linalg.norm(axis)) / 2.0, (float(np.trace(rotation)) - 1.0) / 2.0
    angle = float(np.arctan2(sine, cosine))
    if sine > 1e-9:
        small: Array = axis * (angle / (2.0 * sine))
        return small
    if cosine > 0.0:
        return np.zeros(3)
    # Half a turn: the axis is the column of (R + I) that is longest.
    columns = rotation + np.eye(3)
    longest = columns[:, int(np.argmax(np.linalg.norm(columns, axis=0)))]
    half_turn: Array = np.pi * longest / np.linalg.norm(longest)
    return half_turn


@dataclass(frozen=True)
class Workspace:
    """Where the hand may be sent, in the robot's base frame, whose z = 0 is the table's top.

    Attributes:
        low_m: Lowest x, y, z of the point between the fingertips, metres.
        high_m: Highest x, y, z, metres.
        max_tilt_rad: Largest angle between the approach axis and straight down.
        max_turn_rad: Largest turn of the hand about the vertical, either way.
        max_speed_m_s: Fastest the commanded point may move.
        max_turn_speed_rad_s: Fastest the commanded orientation may turn.
        leash_m: Farthest the commanded point may run ahead of the real hand, so that nothing winds up when blocked.
    """

    low_m: tuple[float, float, float] = (0.32, -0.34, 0.012)
    high_m: tuple[float, float, float] = (0.74, 0.34, 0.45)
    max_tilt_rad: float = 0.42
    max_turn_rad: float = 1.4
    max_speed_m_s: float = 0.6
    max_turn_speed_rad_s: float = 2.0
    leash_m: float = 0.06

    def advance(self, base_t_target: Array, base_t_ee: Array, delta: Array, period_s: float) -> tuple[Array, bool]:
        """Move the commanded pose by a delta and clamp the result.

        Args:
            base_t_target: The pose commanded before, [4, 4].
            base_t_ee: Where the hand really is, [4, 4].
            delta: Translation in metres, then a rotation vector in radians, both in the base frame, [6].
            period_s: Time the hand has for the move, seconds.

        Returns:
            The new commanded pose [4, 4], and whether anything was clamped.
        """
        move, step_clamped = shortened(delta[:3], self.max_speed_m_s * period_s)
        turn, turn_clamped = shortened(delta[3:], self.max_turn_speed_rad_s * period_s)
        wanted = base_t_target[:3, 3] + move
        lead, leash_clamped = shortened(wanted - base_t_ee[:3, 3], self.leash_m)
        position = np.clip(base_t_ee[:3, 3] + lead, self.low_m, self.high_m)
        box_clamped = bool(np.any(np.abs(position - base_t_ee[:3, 3] - lead) > 1e-9))
        rotation, orientation_clamped = self._clamp_rotation(rotation_from_vector(turn) @ base_t_target[:3, :3])
        target = np.eye(4)
        target[:3, :3], target[:3, 3] = rotation, position
        return target, step_clamped or turn_clamped or leash_clamped or box_clamped or orientation_clamped

    def _clamp_rotation(self, rotation: Array) -> tuple[Array, bool]:
        """Bring the approach axis back towards straight down, then the fingers' turn back into its range."""
        clamped = False
        approach = rotation[:, 2]
        tilt = float(np.arccos(np.clip(approach @ DOWN, -1.0, 1.0)))
        if tilt > self.max_tilt_rad:
            axis = np.cross(approach, DOWN)
            axis = axis / max(float(np.linalg.norm(axis)), 1e-9)
            rotation = rotation_from_vector(axis * (tilt - self.max_tilt_rad)) @ rotation
            clamped = True
        turn = float(np.arctan2(rotation[1, 0], rotation[0, 0]))
        excess = turn - float(np.clip(turn, -self.max_turn_rad, self.max_turn_rad))
        if excess != 0.0:
            rotation = rotation_from_vector(np.array([0.0, 0.0, -excess])) @ rotation
            clamped = True
        # Products of many rotations drift; the nearest rotation is the orthogonal factor.
        left, _, right = np.linalg.svd(rotation)
        nearest: Array = left @ right
        return nearest, clamped


def shortened(vector: Array, longest: float) -> tuple[Array, bool]:
    """Scale a vector down to a longest length, and say whether it was longer."""
    length = float(np.linalg.norm(vector))
    if length <= longest * (1.0 + 1e-9):
        return vector, False
    return vector * (longest / length), True
