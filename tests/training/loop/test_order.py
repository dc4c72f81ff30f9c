import pytest

from st4vla.contracts.errors import DatasetError, UsageError
from st4vla.training.loop.order import BLOCK, Draw, MixtureOrder


def test_every_sample_comes_once_before_any_comes_again() -> None:
    order = MixtureOrder([7], [1.0], seed=3)
    draws = [order.draw(number).sample for number in range(21)]
    for epoch in (draws[:7], draws[7:14], draws[14:]):
        assert sorted(epoch) == list(range(7))
    assert draws[:7] != draws[7:14]


def test_data_sets_come_by_their_weights_and_each_in_its_own_order() -> None:
    order = MixtureOrder([50, 10, 5], [3.0, 1.0, 0.0], seed=0)
    draws = [order.draw(number) for number in range(2 * BLOCK)]
    share = sum(draw.dataset == 0 for draw in draws) / len(draws)
    assert 0.72 < share < 0.78
    assert not any(draw.dataset == 2 for draw in draws)
    second = [draw.sample for draw in draws if draw.dataset == 1]
    assert all(sorted(second[start : start + 10]) == list(range(10)) for start in range(0, len(second) - 9, 10))


def test_an_order_is_a_function_of_the_number_alone() -> None:
    forwards, backwards = (MixtureOrder([30, 20], [1, 1], seed=5) for _ in range(2))
    numbers = [0, 1, 17, BLOCK - 1, BLOCK, 3 * BLOCK + 9]
    expected = [forwards.draw(number) for number in numbers]
    assert [backwards.draw(number) for number in reversed(numbers)] == expected[::-1]
    assert forwards.batch(4, 8) == [forwards.draw(number) for number in range(32, 40)]


def test_another_seed_is_another_order() -> None:
    first, second = (MixtureOrder([1000], [1], seed=seed).batch(0, 8) for seed in (0, 1))
    assert first != second
    assert isinstance(first[0], Draw)


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [1.0, -1.0], [1.0, float("nan")]])
def test_weights_that_are_no_mixture_are_refused(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="not all 0"):
        MixtureOrder([5, 5], weights, seed=0)


def test_an_empty_data_set_is_named_unless_it_is_never_drawn() -> None:
    with pytest.raises(DatasetError, match=r"data sets \[1\] of the mixture hold no samples"):
        MixtureOrder([5, 0], [1, 1], seed=0)
    assert MixtureOrder([5, 0], [1, 0], seed=0).draw(0).dataset == 0
