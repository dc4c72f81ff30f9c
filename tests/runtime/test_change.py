from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import pytest

from st4vla.runtime.cell_motion import EXPLAINED
from st4vla.runtime.change import LEARNING, LONELY, PATIENCE, SPOKEN, WITHIN, ChangeConfig, ChangeDetector

SIDE, CHANNELS = 10, 24
RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((SIDE, SIDE, CHANNELS)).astype(np.float32)
ARM = RNG.standard_normal((3, 2, CHANNELS)).astype(np.float32)
THING = RNG.standard_normal((1, 2, CHANNELS)).astype(np.float32)
PERIOD_NS = 50_000_000


def swinging(frame: int) -> int:
    """The column at which an arm is that goes to and fro over the left half of the view and rests at its ends."""
    there_and_back = [0, 1, 2, 3, 3, 3, 3, 3, 2, 1, 0, 0, 0, 0, 0]
    return there_and_back[frame % len(there_and_back)]


def seen(column: int, thing: tuple[int, int] | None, rng: np.random.Generator, noise: float = 0.03) -> np.ndarray:
    """What a camera beside the table sees: an arm at rows 1 to 3, and a thing of two cells."""
    cells = TABLE.copy()
    cells[1:4, column : column + 2] = ARM
    if thing is not None:
        row, left = thing
        cells[row : row + 1, left : left + 2] = THING
    return cells + noise * rng.standard_normal(cells.shape).astype(np.float32)


class Watch:
    """A detector, its clock, and what it was shown."""

    def __init__(self, config: ChangeConfig | None = None, seed: int = 0) -> None:
        self.detector = ChangeDetector(config or ChangeConfig())
        self.rng = np.random.default_rng(seed)
        self.frame = 0

    def look(self, *views: np.ndarray) -> bool:
        self.frame += 1
        cells = np.concatenate([view.reshape(-1, CHANNELS) for view in views])
        return self.detector.look(self.now_ns, cells, len(views))

    def looks(self, frames: int, thing: tuple[int, int] | None) -> list[int]:
        """Which of some frames counted, counted from 0."""
        return [each for each in range(frames) if self.look(seen(swinging(self.frame), thing, self.rng))]

    @property
    def now_ns(self) -> int:
        return self.frame * PERIOD_NS


@pytest.fixture
def watch() -> Watch:
    """One that has learnt what an arm's motion looks like, with a thing on the table."""
    watch = Watch()
    assert watch.looks(100, (6, 2)) == []
    return watch


def test_a_thing_that_jumps_is_noticed_on_its_third_frame_beside_an_arm_in_motion(watch: Watch) -> None:
    assert watch.looks(60, (7, 6)) == [2], "and it counts once"
    assert watch.looks(60, None) == [2], "a thing that is gone counts as well"


def test_an_arm_in_motion_is_no_change_for_as_long_as_it_lasts(watch: Watch) -> None:
    assert watch.looks(1000, (6, 2)) == []


def test_nothing_counts_before_what_is_usual_is_known() -> None:
    watch = Watch()
    assert watch.looks(LEARNING - 10, (6, 2)) == []
    assert watch.looks(5, (7, 6)) == []
    assert watch.looks(100, (7, 6)) == []


def test_an_odd_frame_is_not_a_change(watch: Watch) -> None:
    for _ in range(5):
        assert not watch.looks(1, (7, 6)) + watch.looks(19, (6, 2))


def test_one_cell_alone_is_not_a_change(watch: Watch) -> None:
    def odd(cell: tuple[int, int]) -> list[int]:
        found = []
        for frame in range(40):
            cells = seen(swinging(watch.frame), (6, 2), watch.rng)
            cells[cell] = THING[0, 0]
            found += [frame] * watch.look(cells)
        return found

    assert odd((8, 8)) == []


def test_a_thing_that_goes_on_moving_counts_once_for_the_place_that_it_left(watch: Watch) -> None:
    places = [(7, column) for column in (6, 7, 8, 7, 6, 7, 8, 7, 6)]
    heard = [bool(watch.looks(1, place)) for place in places]
    assert np.flatnonzero(heard).tolist() == [2]
    assert watch.looks(60, (7, 6)) == [], "and where it comes to rest is near where it has just moved"


@pytest.mark.parametrize(
    ("frames_ago", "noticed"),
    [(EXPLAINED - 1, []), (EXPLAINED, [PATIENCE - 1]), (LONELY - 1, [PATIENCE - 1]), (LONELY, [2])],
)
def test_the_later_the_arm_was_there_the_longer_a_thing_must_lie(
    watch: Watch, frames_ago: int, noticed: list[int]
) -> None:
    def look(column: int, *, changed: bool) -> bool:
        cells = seen(column, (6, 2), watch.rng)
        if changed:
            cells[4, 0:2] = THING
        return watch.look(cells)

    # The arm comes by, and three frames after it has uncovered the third column it is far away.
    for column in (3, 2, 1, 2, 3, 4, 5, 6):
        assert not look(column, changed=False)
    # There it works on, never at rest.
    for ago in range(3, frames_ago):
        assert not look(6 + ago % 2, changed=False)
    assert [frame for frame in range(40) if look(6 + (frames_ago + frame) % 2, changed=True)] == noticed


def test_what_a_plan_was_made_on_is_no_change(watch: Watch) -> None:
    assert watch.looks(1, (7, 6)) == []
    watch.detector.plan_begun(watch.now_ns)
    assert watch.looks(60, (7, 6)) == [], "the plan's frame shows it"
    assert watch.looks(1, (8, 2)) == []
    watch.detector.plan_begun(watch.now_ns - PERIOD_NS)
    assert watch.looks(60, (8, 2)) == [1], "the plan's frame was the one before"
    watch.detector.plan_begun(watch.now_ns + 5 * PERIOD_NS)
    assert watch.looks(60, (6, 6)) == [], "a plan on a frame that System 1 sees only later"


def jumping(every: int) -> Iterator[tuple[int, int]]:
    places = [(5, 6), (7, 6), (5, 3), (8, 3)]
    for frame in count():
        yield places[frame // every % len(places)]


def test_a_view_that_speaks_too_often_is_not_listened_to_and_the_other_one_still_is() -> None:
    watch, restless = Watch(), jumping(15)
    heard = [watch.look(seen(0, (6, 2), watch.rng), seen(0, next(restless), watch.rng)) for _ in range(600)]
    assert 1 <= sum(heard) <= SPOKEN
    assert not any(heard[WITHIN:])
    calm = [watch.look(seen(0, (8, 7), watch.rng), seen(0, next(restless), watch.rng)) for _ in range(20)]
    assert calm.index(True) == 2
    still = next(restless)
    quiet = [watch.look(seen(0, (8, 7), watch.rng), seen(0, still, watch.rng)) for _ in range(WITHIN + 20)]
    assert sum(quiet) <= 1
    again = [watch.look(seen(0, (8, 7), watch.rng), seen(0, (2, 6), watch.rng)) for _ in range(20)]
    assert any(again), "a view that has held its peace is listened to again"


def test_all_cells_at_once_count_once_as_when_a_lamp_is_lit(watch: Watch) -> None:
    lamp = 2 * RNG.standard_normal(CHANNELS).astype(np.float32)
    found = [frame for frame in range(60) if watch.look(seen(swinging(watch.frame), (6, 2), watch.rng) + lamp)]
    assert found == [2]


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_noise_of_any_size_is_usual(noise: float) -> None:
    watch = Watch()
    heard = [watch.look(seen(swinging(watch.frame), (6, 2), watch.rng, noise)) for _ in range(600)]
    assert not any(heard)
    heard = [watch.look(seen(swinging(watch.frame), (7, 6), watch.rng, noise)) for _ in range(20)]
    assert heard.index(True) == 2


def test_cells_are_neighbours_within_their_view_only() -> None:
    watch = Watch()
    still = [seen(0, None, watch.rng, 0.0) for _ in range(2)]
    for _ in range(100):
        watch.look(*still)
    # The last row of one view and the first row of the next lie one after another.
    still[0][-1, -1], still[1][0, 0] = THING[0]
    assert not any(watch.look(*still) for _ in range(20))


def test_switched_off_it_sees_nothing() -> None:
    watch = Watch(ChangeConfig(enabled=False))
    assert watch.looks(100, (6, 2)) + watch.looks(60, (7, 6)) == []


def test_cells_that_are_no_squares_are_refused() -> None:
    with pytest.raises(ValueError, match="10 cells are not 2 square views"):
        ChangeDetector(ChangeConfig()).look(0, np.ones((10, 3), np.float32), 2)


@pytest.mark.parametrize(
    "bad", [{"least": 0.0}, {"factor": 1.0}, {"release": 0.0}, {"cells": 0}, {"cells": 10}, {"frames": 1}]
)
def test_configurations_that_cannot_work_are_refused(bad: dict[str, float]) -> None:
    make: Callable[..., ChangeConfig] = ChangeConfig
    with pytest.raises(ValueError, match="must be"):
        make(**bad)
