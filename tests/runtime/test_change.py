import numpy as np
import pytest

from st4vla.runtime.change import MEMORY, ChangeConfig, ChangeDetector, cell_drifts

RNG = np.random.default_rng(0)
SCENE = RNG.standard_normal((32, 48)).astype(np.float32)
#: How much each cell trembles: the second view's are a wrist camera's.
TREMBLE = np.repeat([0.05, 0.6], 16)[:, None].astype(np.float32)
FIXED = ChangeConfig(ordinary=0.03, frames=1)


def seen(scene: np.ndarray, rng: np.random.Generator, tremble: np.ndarray = TREMBLE) -> np.ndarray:
    return (scene + tremble * rng.standard_normal(scene.shape)).astype(np.float32)


def moved(scene: np.ndarray) -> np.ndarray:
    """An object went from one cell of the first view to another: both look somewhat different now."""
    other = scene.copy()
    other[[3, 12]] += 0.6 * RNG.standard_normal((2, scene.shape[1])).astype(np.float32)
    return other


def learnt(rng: np.random.Generator, plans: int = 12) -> tuple[ChangeDetector, int]:
    """A detector that has seen some plans' lives, and the time."""
    detector, time = ChangeDetector(ChangeConfig()), 0
    for _ in range(plans):
        for _ in range(10):
            time += 1
            assert not detector.look(time, seen(SCENE, rng))
        detector.plan_made(time, ordinary=True)
    return detector, time


def test_nothing_counts_before_ordinary_drift_is_known() -> None:
    detector = ChangeDetector(ChangeConfig())
    detector.look(0, SCENE)
    detector.plan_made(0, ordinary=True)
    assert not any(detector.look(time, moved(SCENE)) for time in range(1, 9))


def test_a_moved_object_is_noticed_on_its_second_frame_beside_a_camera_that_sees_everything_move() -> None:
    rng = np.random.default_rng(1)
    detector, time = learnt(rng)
    other = moved(SCENE)
    looks = [detector.look(time + frame, seen(other, rng)) for frame in (1, 2, 3, 4)]
    assert looks == [False, True, False, False]
    # The plan made of it is the new measure.
    detector.plan_made(time + 4, ordinary=False)
    assert not any(detector.look(time + 4 + frame, seen(other, rng)) for frame in range(1, 20))


def test_ordinary_motion_is_no_change_for_as_long_as_it_lasts() -> None:
    rng = np.random.default_rng(2)
    detector, time = learnt(rng)
    for step in range(400):
        assert not detector.look(time + step, seen(SCENE, rng))
        if step % 10 == 9:
            detector.plan_made(time + step, ordinary=True)
    assert len(detector._history) == MEMORY


def test_one_odd_frame_is_not_a_change() -> None:
    detector = ChangeDetector(ChangeConfig(ordinary=0.03))
    detector.look(0, SCENE)
    detector.plan_made(0, ordinary=True)
    assert not detector.look(1, moved(SCENE))
    assert not detector.look(2, SCENE)
    assert not detector.look(3, moved(SCENE))


def test_what_has_counted_counts_again_only_after_the_drift_has_fallen() -> None:
    detector = ChangeDetector(FIXED)
    detector.look(0, SCENE)
    detector.plan_made(0, ordinary=True)
    other = moved(SCENE)
    assert detector.look(1, other)
    assert not detector.look(2, other)
    assert not detector.look(3, SCENE)
    assert detector.look(4, other)


def test_a_scene_that_always_changes_raises_its_own_threshold() -> None:
    rng = np.random.default_rng(3)
    detector, time = learnt(rng)
    counted = 0
    for step in range(300):
        if detector.look(time + step, seen(SCENE, rng, np.float32(1.0) * np.ones_like(TREMBLE))):
            counted += 1
            detector.plan_made(time + step, ordinary=False)
    assert 0 < counted < 30


def test_the_reference_is_the_frame_nearest_to_the_plans() -> None:
    detector = ChangeDetector(FIXED)
    other = moved(SCENE)
    detector.look(0, SCENE)
    detector.look(10, other)
    detector.plan_made(1, ordinary=True)
    assert detector.look(11, other), "the plan was made before the object moved"


def test_drift_is_zero_of_the_same_and_two_of_the_opposite() -> None:
    assert cell_drifts(SCENE, 3 * SCENE) == pytest.approx(np.zeros(32), abs=1e-6)
    assert cell_drifts(SCENE, -SCENE) == pytest.approx(np.full(32, 2.0), abs=1e-6)


def test_configurations_that_cannot_work_are_refused() -> None:
    for bad in ({"ordinary": 0.0}, {"factor": 1.0}, {"release": 0.0}, {"frames": 0}):
        with pytest.raises(ValueError, match="must be"):
            ChangeConfig(**bad)
