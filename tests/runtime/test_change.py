import numpy as np
import pytest

from st4vla.runtime.change import ChangeConfig, ChangeDetector, cell_drift

RNG = np.random.default_rng(0)
SCENE = RNG.standard_normal((32, 48)).astype(np.float32)


def noisy(scene: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    return (scene + amount * rng.standard_normal(scene.shape)).astype(np.float32)


def moved(scene: np.ndarray) -> np.ndarray:
    """An object went from one cell to another: both look different now."""
    other = scene.copy()
    other[[3, 17]] = RNG.standard_normal((2, scene.shape[1])).astype(np.float32)
    return other


def test_nothing_counts_before_ordinary_drift_is_known() -> None:
    detector = ChangeDetector(ChangeConfig())
    detector.look(0, SCENE)
    detector.plan_made(0, ordinary=True)
    assert detector.threshold is None
    assert not any(detector.look(time, moved(SCENE)) for time in range(1, 9))


def test_a_moved_object_is_noticed_within_two_frames_and_ordinary_motion_never_is() -> None:
    rng = np.random.default_rng(1)
    detector = ChangeDetector(ChangeConfig())
    time = 0
    for _ in range(8):
        for _ in range(10):
            time += 1
            assert not detector.look(time, noisy(SCENE, 0.1, rng))
        detector.plan_made(time, ordinary=True)
    other = moved(SCENE)
    looks = [detector.look(time + frame, noisy(other, 0.1, rng)) for frame in (1, 2, 3, 4)]
    assert looks == [False, True, False, False]
    # The plan made of it is the new measure.
    detector.plan_made(time + 4, ordinary=False)
    assert not any(detector.look(time + 4 + frame, noisy(other, 0.1, rng)) for frame in range(1, 20))


def test_one_odd_frame_is_not_a_change() -> None:
    detector = ChangeDetector(ChangeConfig(threshold=0.1))
    detector.look(0, SCENE)
    detector.plan_made(0, ordinary=True)
    assert not detector.look(1, moved(SCENE))
    assert not detector.look(2, SCENE)
    assert not detector.look(3, moved(SCENE))


def test_what_has_counted_counts_again_only_after_the_drift_has_fallen() -> None:
    detector = ChangeDetector(ChangeConfig(threshold=0.1, frames=1))
    detector.look(0, SCENE)
    detector.plan_made(0, ordinary=True)
    other = moved(SCENE)
    assert detector.look(1, other)
    assert not detector.look(2, other)
    assert not detector.look(3, SCENE)
    assert detector.look(4, other)


def test_a_scene_that_always_changes_raises_its_own_threshold() -> None:
    rng = np.random.default_rng(2)
    detector = ChangeDetector(ChangeConfig(frames=1))
    for time in range(8):
        detector.look(time, noisy(SCENE, 0.01, rng))
        detector.plan_made(time, ordinary=True)
    counted = 0
    for time in range(8, 200):
        if detector.look(time, noisy(SCENE, 1.0, rng)):
            counted += 1
            detector.plan_made(time, ordinary=False)
    assert 0 < counted < 60


def test_the_reference_is_the_frame_nearest_to_the_plans() -> None:
    detector = ChangeDetector(ChangeConfig(threshold=0.1, frames=1))
    other = moved(SCENE)
    detector.look(0, SCENE)
    detector.look(10, other)
    detector.plan_made(1, ordinary=True)
    assert detector.look(11, other), "the plan was made before the object moved"


def test_drift_is_zero_of_the_same_and_grows_with_the_share_that_turned() -> None:
    assert cell_drift(SCENE, 3 * SCENE) == pytest.approx(0, abs=1e-6)
    assert 0 < cell_drift(SCENE, moved(SCENE)) < cell_drift(SCENE, -SCENE)
    assert cell_drift(SCENE[:1], -SCENE[:1]) == pytest.approx(2, abs=1e-6)


def test_configurations_that_cannot_work_are_refused() -> None:
    for bad in ({"threshold": 0.0}, {"factor": 1.0}, {"release": 0.0}, {"frames": 0}):
        with pytest.raises(ValueError, match="must be"):
            ChangeConfig(**bad)
