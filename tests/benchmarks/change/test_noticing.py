import numpy as np
import pytest

from st4vla.benchmarks.change.noticing import AT_ONCE, PERIOD_TICKS, Noticing, Watched, coarser, notice
from st4vla.runtime.change import ChangeConfig

JUMPS = (210, 331, 452)


def episode(jumps: tuple[int, ...], ticks: int = 600) -> Watched:
    """Two views of 8 x 8 cells in which nothing moves but what jumps, and that to places of their own."""
    rng = np.random.default_rng(0)
    scene, cells = rng.standard_normal((2, 8, 8, 6)).astype(np.float32), []
    for tick in range(ticks):
        if tick in jumps:
            scene = scene.copy()
            scene[0, 2 * jumps.index(tick), 3:5] *= -1
        noise = 0.02 * rng.standard_normal(scene.shape).astype(np.float32)
        cells.append((scene + noise).reshape(-1, 6))
    return Watched(cells, jumps)


def test_jumps_are_noticed_and_planned_on_sooner_than_on_period() -> None:
    found = notice([episode(JUMPS), episode(())], ChangeConfig(), noise=0.0)
    assert found.delays_ticks == (2, 2, 2)
    assert found.false_alarms == found.early_alarms == 0
    assert found.minutes == pytest.approx(2 * 400 / 20 / 60)
    assert max(found.knowing_ticks) <= AT_ONCE
    assert max(found.period_ticks) > AT_ONCE
    assert max(found.period_ticks) <= PERIOD_TICKS
    assert found.missed() == []


def test_changes_that_no_jump_explains_are_false_alarms() -> None:
    shown = episode(JUMPS)
    found = notice([Watched(shown.cells, JUMPS[1:])], ChangeConfig(), noise=0.0)
    assert found.false_alarms == 1
    assert found.delays_ticks == (2, 2)
    unseen = notice([Watched(episode(()).cells, JUMPS)], ChangeConfig(), noise=0.0)
    assert unseen.delays_ticks == (None, None, None)


def test_cells_are_averaged_to_fewer_within_their_view() -> None:
    cells = np.arange(2 * 16 * 3, dtype=np.float32).reshape(2, 4, 4, 3)
    found = coarser(Watched([cells.reshape(-1, 3)], (7,)), 2, 2)
    assert found.jumps == (7,)
    np.testing.assert_allclose(found.cells[0].reshape(2, 2, 2, 3)[1, 0, 1], cells[1, :2, 2:].mean(axis=(0, 1)))


def test_figures_are_held_against_their_bars() -> None:
    assert Noticing(0.0, 1.0, (1, 2, 3, 4, None), 2, 9, (1,), (9,)).missed() == []
    missed = Noticing(0.0, 1.0, (1, None), 3, 0, (1,), (9,)).missed()
    assert [line.split(",")[0] for line in missed] == ["50% of the jumps were noticed", "3.00 false alarms a minute"]
