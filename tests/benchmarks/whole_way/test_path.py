import numpy as np
import pytest

from st4vla.benchmarks.whole_way.path import ROTATION_LIMITS, TRANSLATION_LIMITS, shares_of_limits, speeds, turn_vectors
from st4vla.runtime.bridge.player import PlayerConfig, Robot

Array = np.ndarray
ONCE = np.ones(1000)


def poses(positions: Array | None = None, angles_rad: Array | None = None, count: int = 1000) -> Array:
    made = np.zeros((count, 3, 4))
    angles = np.zeros(count) if angles_rad is None else angles_rad
    made[:, 0, 0] = made[:, 1, 1] = np.cos(angles)
    made[:, 1, 0] = np.sin(angles)
    made[:, 0, 1] = -made[:, 1, 0]
    made[:, 2, 2] = 1.0
    if positions is not None:
        made[:, :, 3] = positions
    return made


def test_a_steady_move_has_its_velocity_and_nothing_else() -> None:
    positions = np.zeros((1000, 3))
    positions[:, 0] = 0.3e-3 * np.arange(1000)
    shares = shares_of_limits(poses(positions), ONCE)
    assert shares["translation_velocity"] == pytest.approx(0.3 / TRANSLATION_LIMITS[0], abs=1e-4)
    assert shares["translation_acceleration"] == pytest.approx(0.0, abs=1e-4)
    assert shares["rotation_velocity"] == 0.0


def test_a_jump_shows_in_each_derivative_but_not_where_milliseconds_are_missing() -> None:
    positions = np.zeros((1000, 3))
    positions[500:, 1] = 1e-4
    shares = shares_of_limits(poses(positions), ONCE)
    assert shares["translation_velocity"] == pytest.approx(0.1 / TRANSLATION_LIMITS[0], abs=1e-4)
    assert shares["translation_acceleration"] == pytest.approx(100 / TRANSLATION_LIMITS[1], rel=1e-3)
    assert shares["translation_jerk"] == pytest.approx(2e5 / TRANSLATION_LIMITS[2], rel=1e-3)
    ticks = ONCE.copy()
    ticks[500] = 5
    assert max(shares_of_limits(poses(positions), ticks).values()) == 0.0


def test_turns_are_the_rotation_vectors_between_successive_poses() -> None:
    turning = poses(angles_rad=1e-3 * np.arange(1000))
    np.testing.assert_allclose(turn_vectors(turning[:, :, :3]), np.tile([0, 0, 1e-3], (999, 1)), atol=1e-9)
    assert shares_of_limits(turning, ONCE)["rotation_velocity"] == pytest.approx(1.0 / ROTATION_LIMITS[0], abs=1e-3)


def test_speeds_are_per_second() -> None:
    positions = np.zeros((10, 3))
    positions[:, 2] = 2e-4 * np.arange(10)
    moves, turns = speeds(poses(positions, 5e-4 * np.arange(10), 10))
    np.testing.assert_allclose(moves, 0.2)
    np.testing.assert_allclose(turns, 0.5, rtol=1e-6)


def test_the_players_default_is_nine_tenths_of_these_limits_and_99_hundredths_of_that_for_turns() -> None:
    config = PlayerConfig.default(Robot.FRANKA_RESEARCH_3)
    for limits, published, share in (
        (config.translation, TRANSLATION_LIMITS, 0.9),
        (config.rotation, ROTATION_LIMITS, 0.9 * 0.99),
    ):
        found = (limits.velocity, limits.acceleration, limits.jerk)
        assert found == pytest.approx([share * limit for limit in published], rel=1e-12)
