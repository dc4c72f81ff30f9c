import numpy as np
import pytest

from st4vla.benchmarks.whole_way.path import ROTATION_LIMITS, TRANSLATION_LIMITS, shares_of_limits, speeds, turn_vectors

STILL = np.tile([1.0, 0.0, 0.0, 0.0], (1000, 1))


def about_z(angles_rad: np.ndarray) -> np.ndarray:
    half = angles_rad / 2
    return np.stack([np.cos(half), 0 * half, 0 * half, np.sin(half)], axis=1)


def test_a_steady_move_has_its_velocity_and_nothing_else() -> None:
    positions = np.zeros((1000, 3))
    positions[:, 0] = 0.3e-3 * np.arange(1000)
    shares = shares_of_limits(positions, STILL)
    assert shares["translation_velocity"] == pytest.approx(0.3 / TRANSLATION_LIMITS[0], abs=1e-4)
    assert shares["translation_acceleration"] == pytest.approx(0.0, abs=1e-4)
    assert shares["rotation_velocity"] == 0.0


def test_a_jump_shows_in_each_derivative() -> None:
    positions = np.zeros((1000, 3))
    positions[500:, 1] = 1e-4
    shares = shares_of_limits(positions, STILL)
    assert shares["translation_velocity"] == pytest.approx(0.1 / TRANSLATION_LIMITS[0], abs=1e-4)
    assert shares["translation_acceleration"] == pytest.approx(100 / TRANSLATION_LIMITS[1], rel=1e-3)
    assert shares["translation_jerk"] == pytest.approx(2e5 / TRANSLATION_LIMITS[2], rel=1e-3)


def test_turns_are_the_rotation_vectors_between_successive_quaternions_whatever_their_sign() -> None:
    quaternions = about_z(1e-3 * np.arange(1000))
    quaternions[::2] *= -1
    turns = turn_vectors(quaternions)
    np.testing.assert_allclose(turns, np.tile([0, 0, 1e-3], (999, 1)), atol=1e-9)
    shares = shares_of_limits(np.zeros((1000, 3)), quaternions)
    assert shares["rotation_velocity"] == pytest.approx(1.0 / ROTATION_LIMITS[0], abs=1e-3)


def test_speeds_are_per_second() -> None:
    positions = np.zeros((10, 3))
    positions[:, 2] = 2e-4 * np.arange(10)
    moves, turns = speeds(positions, about_z(5e-4 * np.arange(10)))
    np.testing.assert_allclose(moves, 0.2)
    np.testing.assert_allclose(turns, 0.5, rtol=1e-6)
