import pytest

from st4vla.contracts.staleness import AgeBounds, Pace, Staleness


def test_ages_grow_from_run_over_slow_and_hold_to_stop() -> None:
    bounds = AgeBounds(10, 20, 30)
    ages = (0, 9, 10, 19, 20, 29, 30, 10**12)
    assert [bounds.pace(age) for age in ages] == [
        Pace.RUN,
        Pace.RUN,
        Pace.SLOW,
        Pace.SLOW,
        Pace.HOLD,
        Pace.HOLD,
        Pace.STOP,
        Pace.STOP,
    ]


def test_a_bound_of_zero_is_none() -> None:
    assert AgeBounds().pace(10**18) is Pace.RUN
    assert AgeBounds(hold_ns=5).pace(4) is Pace.RUN
    assert AgeBounds(hold_ns=5).pace(10**18) is Pace.HOLD


def test_the_stricter_of_both_ages_holds() -> None:
    staleness = Staleness(AgeBounds(10, 20, 30), AgeBounds(0, 0, 50))
    assert staleness.pace(5, 49) is Pace.RUN
    assert staleness.pace(15, 49) is Pace.SLOW
    assert staleness.pace(15, 50) is Pace.STOP


@pytest.mark.parametrize("bounds", [(20, 10, 0), (-1, 0, 0), (0, 30, 20), (5, 0, 4)])
def test_bounds_out_of_order_are_refused(bounds: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="they must rise, and 0 means none"):
        AgeBounds(*bounds)
