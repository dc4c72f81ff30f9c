import numpy as np
import pytest

from st4vla.benchmarks.tabletop.decimate import decimate
from st4vla.benchmarks.tabletop.workspace import Workspace, rotation_from_vector, vector_from_rotation


def down_at(x: float, y: float, z: float) -> np.ndarray:
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[:3, 3] = x, y, z
    return pose


@pytest.mark.parametrize("vector", [[0, 0, 0], [0.3, -0.2, 0.9], [1e-7, 0, 0], [0, np.pi, 0], [2.0, 2.0, 1.0]])
def test_rotation_vectors_survive_the_way_to_a_matrix_and_back(vector: list[float]) -> None:
    rotation = rotation_from_vector(np.array(vector, dtype=float))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(vector_from_rotation(rotation), vector, atol=1e-7)


def test_a_small_move_inside_passes_unchanged() -> None:
    pose = down_at(0.5, 0.0, 0.2)
    target, clamped = Workspace().advance(pose, pose, np.array([0.01, -0.01, 0.005, 0, 0, 0.02]), 0.05)
    assert not clamped
    np.testing.assert_allclose(target[:3, 3], [0.51, -0.01, 0.205])


@pytest.mark.parametrize(
    "delta",
    [
        [0.5, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1.0],
        [0, 0, -0.02, 0, 0, 0],
    ],
)
def test_a_clamped_move_is_reported_and_short(delta: list[float]) -> None:
    workspace = Workspace()
    pose = down_at(0.5, 0.0, workspace.low_m[2] + 0.001)
    target, clamped = workspace.advance(pose, pose, np.array(delta), 0.05)
    assert clamped
    assert np.linalg.norm(target[:3, 3] - pose[:3, 3]) <= workspace.max_speed_m_s * 0.05 + 1e-9
    turn = vector_from_rotation(target[:3, :3] @ pose[:3, :3].T)
    assert np.linalg.norm(turn) <= workspace.max_turn_speed_rad_s * 0.05 + 1e-9


def test_tilt_and_turn_stay_in_their_ranges_whatever_is_asked() -> None:
    workspace = Workspace()
    generator = np.random.default_rng(0)
    pose = down_at(0.5, 0.0, 0.2)
    for _ in range(500):
        pose, _ = workspace.advance(pose, pose, generator.uniform(-1, 1, 6), 0.05)
        assert np.arccos(np.clip(-pose[2, 2], -1, 1)) <= workspace.max_tilt_rad + 1e-6
        assert abs(np.arctan2(pose[1, 0], pose[0, 0])) <= workspace.max_turn_rad + 1e-6
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)


def test_a_blocked_hand_does_not_let_the_target_run_away() -> None:
    workspace = Workspace()
    target = hand = down_at(0.5, 0.0, 0.2)
    for _ in range(20):
        target, clamped = workspace.advance(target, hand, np.array([0.02, 0, 0, 0, 0, 0]), 0.05)
    assert clamped
    assert target[0, 3] == pytest.approx(0.5 + workspace.leash_m)


def test_decimating_a_box_keeps_its_corners_and_thins_its_faces() -> None:
    line = np.linspace(0.0, 1.0, 21)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    vertices, faces = [], []
    for axis in range(3):
        for side in (0.0, 1.0):
            start = len(vertices) * len(grid)
            vertices.append(np.insert(grid, axis, side, axis=1))
            for i in range(20):
                for j in range(20):
                    a = start + i * 21 + j
                    faces += [[a, a + 1, a + 21], [a + 1, a + 22, a + 21]]
    points, triangles = decimate(np.concatenate(vertices), np.array(faces), 0.26)
    assert len(triangles) < len(faces) / 10
    np.testing.assert_allclose(points.min(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(points.max(axis=0), 1.0, atol=1e-6)
