"""Tests of what is measured of pictures on their way to a policy, and of what resizing does to actions."""

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from st4vla.benchmarks import preprocessing
from st4vla.benchmarks.preprocessing import measure
from st4vla.benchmarks.resize_actions import OTHER_NOISE, action_differences, tabletop_frames
from st4vla.benchmarks.resizers import OURS, REFERENCE, Pixels, resizers
from st4vla.contracts.command_line import table
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Views


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_each_step_is_timed_and_ours_is_not_off_by_a_level() -> None:
    found = measure([noise(60, 80, seed) for seed in range(2)], side=28, turns=3)
    assert (found.size, found.side) == ((60, 80), 28)
    assert all(len(step.times_ms) == 3 and step.median_ms > 0 for step in found.steps)
    assert found.step(OURS).max_levels == 0
    pillow = found.step(REFERENCE)
    assert (pillow.faster, pillow.mean_levels, pillow.max_levels) == (1.0, 0.0, 0)
    assert found.step("decode 28 x 28").faster is None
    worse = found.step("Pillow bilinear")
    assert worse.mean_levels is not None
    assert worse.max_levels is not None
    assert 1 < worse.mean_levels < worse.max_levels
    lines = table(found.rows(), preprocessing.HEADER).splitlines()
    assert len(lines) == 2 + len(found.steps)


def test_decoding_at_a_reduced_scale_is_held_against_the_whole_picture() -> None:
    flat = measure([np.full((60, 80, 3), 90, np.uint8)], side=28, turns=1)
    rough = measure([noise(60, 80)], side=28, turns=1)
    name = "decode 60 x 80 at a reduced scale"
    assert flat.step(name).max_levels == 0
    assert (rough.step(name).max_levels or 0) > 5


def test_opencv_takes_part_on_one_core_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    fake: Any = ModuleType("cv2")
    fake.__spec__ = object()
    fake.INTER_AREA, fake.INTER_CUBIC = "area", "cubic"
    fake.setNumThreads = calls.append
    fake.resize = lambda pixels, size, interpolation: calls.append((size, interpolation))
    monkeypatch.setitem(sys.modules, "cv2", fake)
    found = resizers()
    found["OpenCV area"](noise(4, 4), 2, 3)
    found["OpenCV cubic"](noise(4, 4), 2, 3)
    assert calls == [1, ((3, 2), "area"), ((3, 2), "cubic")]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert set(resizers()) == {REFERENCE, OURS, "Pillow bilinear"}


@dataclass
class BrightnessPolicy(NullPolicy):
    """Moves by the mean of its first view in levels, so that what a resize does to it is known."""

    image_size: int = 28

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        actions = np.zeros((self.horizon, self.info.action.dim), np.float32)
        actions[:, 0] = views[0].mean() / 1000
        actions[:, 4] = views[1].mean() / 100
        actions[:, 6] = seed % 2
        return Acted(actions)


def test_differences_are_those_of_the_chunk_in_the_robots_units() -> None:
    frame = {name: np.full((40, 50, 3), 100, np.uint8) for name in ("agentview", "wrist")}

    def brighter(pixels: Pixels, height: int, width: int) -> Pixels:
        return np.full((height, width, 3), 110, np.uint8)

    methods = {REFERENCE: resizers()[REFERENCE], OURS: resizers()[OURS], "brighter": brighter}
    policy = BrightnessPolicy(horizon=4)
    found = {each.method: each for each in action_differences(policy, [frame, frame], methods)}
    assert set(found) == {OURS, "brighter", OTHER_NOISE}
    assert found[OURS].normalised == found[OURS].path_mm == found[OURS].grippers == 0
    assert found["brighter"].mm == pytest.approx(10.0, rel=1e-4)
    assert found["brighter"].mrad == pytest.approx(100.0, rel=1e-4)
    assert found["brighter"].normalised == pytest.approx(0.1, rel=1e-4)
    assert found["brighter"].path_mm == pytest.approx(40.0, rel=1e-4)
    assert found["brighter"].path_mrad == pytest.approx(400.0, rel=1e-4)
    assert found["brighter"].grippers == 0
    assert found[OTHER_NOISE].grippers == 1
    assert found[OTHER_NOISE].row()[-1] == "100.0%"


def test_frames_are_what_a_camera_of_that_size_sees_while_the_arm_moves() -> None:
    frames = tabletop_frames(2, height=48, width=64, every=4)
    assert [sorted(frame) for frame in frames] == [["agentview", "wrist"]] * 2
    assert frames[0]["wrist"].shape == (48, 64, 3)
    assert (frames[0]["wrist"] != frames[1]["wrist"]).any()
