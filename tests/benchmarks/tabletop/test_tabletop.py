import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest

from st4vla.benchmarks.tabletop.assets import OBJECTS, find_assets
from st4vla.benchmarks.tabletop.scripted import ScriptedPick, pick
from st4vla.benchmarks.tabletop.world import Tabletop

STILL = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]


@pytest.fixture(scope="module")
def shared() -> Iterator[Tabletop]:
    with Tabletop() as world:
        yield world


@pytest.fixture
def world(shared: Tabletop) -> Tabletop:
    shared.reset(0)
    return shared


def test_same_seed_and_actions_give_the_same_trajectory_bit_for_bit(world: Tabletop) -> None:
    actions = np.random.default_rng(5).uniform(-0.02, 0.02, (20, 7)) + np.array([0, 0, 0, 0, 0, 0, 0.5])

    def trajectory(tabletop: Tabletop) -> list[bytes]:
        tabletop.reset(7)
        states = []
        for action in actions:
            tabletop.step(action)
            poses = [tabletop.robot_state.joint_positions, *tabletop.object_poses.values()]
            states.append(b"".join(pose.tobytes() for pose in poses))
        return states

    first = trajectory(world)
    world.step(STILL)
    assert trajectory(world) == first
    with Tabletop(seed=3) as fresh:
        assert trajectory(fresh) == first


def test_different_seeds_place_the_objects_differently_apart_and_on_the_table(world: Tabletop) -> None:
    seen = set()
    for seed in range(10):
        world.reset(seed)
        places = np.stack([pose[:3, 3] for pose in world.object_poses.values()])
        seen.add(places.tobytes())
        distances = np.linalg.norm(places[:, None, :2] - places[None, :, :2], axis=-1)
        assert distances[np.triu_indices(len(places), 1)].min() > 0.1
        for name, place in zip(OBJECTS, places, strict=True):
            assert place[2] == pytest.approx(OBJECTS[name].rest_height_m, abs=0.002)
    assert len(seen) == 10


def test_the_hand_starts_open_and_pointing_down(world: Tabletop) -> None:
    state = world.robot_state
    assert state.base_T_ee[2, 2] < -0.999
    assert state.gripper_width_m == pytest.approx(0.08, abs=0.001)
    assert state.joint_positions.shape == state.joint_velocities.shape == (7,)
    assert world.time_ns == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_step_moves_the_hand_by_about_the_commanded_delta(world: Tabletop, axis: int) -> None:
    action = np.array(STILL)
    action[axis] = 0.015
    start = world.base_T_ee
    for _ in range(4):
        world.step(action)
    world.step(STILL)
    moved = world.base_T_ee[:3, 3] - start[:3, 3]
    expected = 4 * action[:3]
    np.testing.assert_allclose(moved, expected, atol=0.003)
    assert world.clamped_commands == 0
    assert world.time_ns == 5 * 50_000_000


def test_a_step_turns_the_hand_about_the_base_frames_axes(world: Tabletop) -> None:
    start = world.base_T_ee
    for _ in range(5):
        world.step([0, 0, 0, 0, 0, 0.08, 1])
    world.step(STILL)
    now = world.base_T_ee
    assert np.arctan2(now[1, 0], now[0, 0]) - np.arctan2(start[1, 0], start[0, 0]) == pytest.approx(0.4, abs=0.03)
    np.testing.assert_allclose(now[:3, 3], start[:3, 3], atol=0.004)


def test_the_gripper_closes_and_opens(world: Tabletop) -> None:
    for _ in range(15):
        world.step([0, 0, 0, 0, 0, 0, 0])
    assert world.robot_state.gripper_width_m < 0.005
    for _ in range(15):
        world.step(STILL)
    assert world.robot_state.gripper_width_m > 0.075


@pytest.mark.parametrize("scale", [0.05, 1.0, 1000.0])
def test_random_actions_stay_finite_and_inside_the_workspace(world: Tabletop, scale: float) -> None:
    generator = np.random.default_rng(1)
    low, high = np.array(world.workspace.low_m), np.array(world.workspace.high_m)
    for _ in range(200):
        world.step(generator.uniform(-scale, scale, 7))
        state = world.robot_state
        assert np.isfinite(world.data.qpos).all()
        assert np.abs(state.joint_velocities).max() < 6.0
        assert (state.base_T_ee[:3, 3] > low - 0.02).all()
        assert (state.base_T_ee[:3, 3] < high + 0.02).all()
    assert world.clamped_commands > 100


def test_driving_straight_at_the_table_stops_above_it_and_counts(world: Tabletop) -> None:
    for _ in range(40):
        world.step([0, 0, -1.0, 0, 0, 0, 1])
    assert world.base_T_ee[2, 3] == pytest.approx(world.workspace.low_m[2], abs=0.004)
    assert world.clamped_commands == 40


@pytest.mark.parametrize("name", list(OBJECTS))
def test_the_scripted_pick_lifts_each_object_for_several_seeds(world: Tabletop, name: str) -> None:
    for seed in range(5):
        world.reset(seed)
        assert pick(world, name), f"{name} was not lifted with seed {seed}"
        assert world.object_poses[name][2, 3] > 0.1
        assert 0.01 < world.robot_state.gripper_width_m < 0.07


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(6), r"an action has shape \(7,\).*this one has shape \(6,\)"),
        (np.zeros((1, 7)), r"this one has shape \(1, 7\)"),
        ([0, 0, np.nan, 0, 0, 0, 1], "an action must be finite; this one is .*nan"),
        ([0, 0, np.inf, 0, 0, 0, 1], "an action must be finite; this one is .*inf"),
    ],
)
def test_a_bad_action_is_refused_and_changes_nothing(world: Tabletop, action: object, message: str) -> None:
    before = world.robot_state.joint_positions
    with pytest.raises(ValueError, match=message):
        world.step(action)  # type: ignore[arg-type]
    assert world.time_ns == 0
    np.testing.assert_array_equal(world.robot_state.joint_positions, before)


@pytest.mark.parametrize("period_ns", [0, -2_000_000, 3_000_000])
def test_a_control_period_off_the_physics_grid_is_refused(period_ns: int) -> None:
    with pytest.raises(ValueError, match="control_period_ns must be a positive multiple of 2000000"):
        Tabletop(control_period_ns=period_ns)


def test_an_unknown_object_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"no object 'teapot'.*red cube, green cylinder, blue ball"):
        ScriptedPick("teapot")


def test_missing_assets_say_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(
        FileNotFoundError, match=r"were not found; install them with: pip install --no-deps robosuite=="
    ):
        find_assets()
    with pytest.raises(FileNotFoundError, match="robosuite's assets were not found"):
        Tabletop()
