import numpy as np
import pytest

from st4vla.contracts.errors import UsageError
from st4vla.training.loop.lengths import LengthGrouped
from st4vla.training.loop.order import Draw, MixtureOrder

SIZES = (96, 48)
LENGTHS = [np.random.default_rng(0).integers(20, 400, size).tolist() for size in SIZES]


def length(draw: Draw) -> int:
    return int(LENGTHS[draw.dataset][draw.sample])


def grouped(window: int, sizes: tuple[int, ...] = SIZES, seed: int = 4) -> LengthGrouped:
    order = MixtureOrder(sizes, [1.0] * len(sizes), seed=seed)
    return LengthGrouped(order, length, batch_size=8, window=window)


def padding(batches: LengthGrouped, steps: int) -> float:
    """Return the share of places in the batches that hold no token."""
    lengths = [[length(draw) for draw in batches.batch(step)] for step in range(steps)]
    return 1 - sum(map(sum, lengths)) / sum(max(batch) * len(batch) for batch in lengths)


def test_padding_falls_with_the_window() -> None:
    none, some, much = (padding(grouped(window), 64) for window in (1, 4, 16))
    assert none > 0.35
    assert some < 0.5 * none
    assert much < 0.15 * none


def test_every_sample_still_comes_once_an_epoch() -> None:
    batches = grouped(window=4, sizes=(96,))
    steps = 96 // 8
    for epoch in range(3):
        draws = [draw.sample for step in range(steps) for draw in batches.batch(epoch * steps + step)]
        assert sorted(draws) == list(range(96))


def test_a_window_holds_what_it_would_hold_in_plain_order() -> None:
    plain, batches = MixtureOrder(SIZES, [1.0, 1.0], seed=4), grouped(window=4)
    for window in range(3):
        steps = range(4 * window, 4 * window + 4)
        found = [draw for step in steps for draw in batches.batch(step)]
        expected = [draw for step in steps for draw in plain.batch(step, 8)]
        assert sorted(found, key=str) == sorted(expected, key=str)


def test_a_batch_is_a_function_of_the_seed_and_the_step_alone() -> None:
    forwards, backwards = grouped(window=4), grouped(window=4)
    expected = [forwards.batch(step) for step in range(12)]
    assert [backwards.batch(step) for step in reversed(range(12))] == expected[::-1]
    assert [grouped(window=4, seed=5).batch(step) for step in range(12)] != expected


def test_batches_do_not_come_by_length() -> None:
    longest = [max(length(draw) for draw in grouped(window=8).batch(step)) for step in range(8)]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


def test_a_window_of_one_batch_is_the_plain_order() -> None:
    assert grouped(window=1).batch(5) == MixtureOrder(SIZES, [1.0, 1.0], seed=4).batch(5, 8)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(UsageError, match="both must be at least 1"):
        grouped(window=0)
