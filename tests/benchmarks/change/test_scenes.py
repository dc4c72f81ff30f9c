import numpy as np
import pytest

from st4vla.benchmarks.change import scenes
from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.world import Tabletop


def test_things_jump_by_ten_centimetres_and_nothing_else_about_them_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "FIRST_TICK", 5)
    monkeypatch.setattr(scenes, "APART_TICKS", (10, 11))
    with Tabletop() as world, Cameras(world, height=8, width=8) as cameras:
        before, jumps = None, 0
        for shot in scenes.shots(world, cameras, seed=4, ticks=60, jumps=True):
            places = {name: pose[:2, 3] for name, pose in world.object_poses.items()}
            if shot.jumped is not None:
                jumps += 1
                assert before is not None
                assert np.linalg.norm(places[shot.jumped] - before[shot.jumped]) == pytest.approx(0.1, abs=0.02)
                assert set(shot.pictures) == {"agentview", "wrist"}
            before = places
    assert jumps >= 3


def test_without_jumps_none_is_told_and_the_same_seed_plays_the_same() -> None:
    with Tabletop() as world, Cameras(world, height=8, width=8) as cameras:
        plays = [list(scenes.shots(world, cameras, seed=5, ticks=20, jumps=False)) for _ in range(2)]
    assert all(shot.jumped is None for play in plays for shot in play)
    for one, other in zip(*plays, strict=True):
        assert all((one.pictures[name] == other.pictures[name]).all() for name in one.pictures)
