import pytest

from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.runtime.distribution import BOUNDS_S, CAPACITY, RATE_NS, WINDOW_NS, Distribution, Figures, rate_hz


def test_nothing_has_no_percentiles_and_no_rate() -> None:
    assert Distribution().figures(NS_PER_S) == Figures()


def test_percentiles_are_of_what_is_recent_and_the_histogram_of_everything() -> None:
    distribution = Distribution()
    distribution.add(0, 9 * NS_PER_S)
    now_ns = WINDOW_NS
    for value_ms in range(1, 101):
        distribution.add(now_ns, value_ms * NS_PER_MS)
    figures = distribution.figures(now_ns)
    assert (figures.count, figures.max_ms, figures.p50_ms) == (101, 100.0, 50.5)
    assert figures.p95_ms is not None
    assert figures.p99_ms is not None
    assert 95 <= figures.p95_ms < figures.p99_ms <= 100
    assert figures.sum_s == pytest.approx(9 + 5.05)


def test_a_value_falls_into_the_bucket_whose_end_it_does_not_exceed() -> None:
    distribution = Distribution()
    ends_ns = [round(bound_s * NS_PER_S) for bound_s in BOUNDS_S]
    for end_ns in ends_ns:
        distribution.add(0, end_ns)
    distribution.add(0, ends_ns[-1] + 1)
    assert distribution.figures(0).buckets == (1,) * (len(BOUNDS_S) + 1)


def test_what_is_remembered_is_bounded() -> None:
    distribution = Distribution()
    for at_ns in range(3 * CAPACITY):
        distribution.add(at_ns, 10 * NS_PER_MS if at_ns < 2 * CAPACITY else NS_PER_MS)
    figures = distribution.figures(3 * CAPACITY)
    assert (figures.count, figures.max_ms) == (3 * CAPACITY, 1.0)
    assert distribution.median_ns() == NS_PER_MS


@pytest.mark.parametrize("hz", [0.4, 2, 20, 500])
def test_a_steady_rate_is_found_whether_its_beginning_is_remembered_or_not(hz: float) -> None:
    period_ns = round(NS_PER_S / hz)
    now_ns = 10 * RATE_NS
    times_ns = [now_ns - back * period_ns for back in range(now_ns // period_ns, 0, -1)]
    assert rate_hz(times_ns, now_ns) == pytest.approx(hz, rel=0.05)
    assert rate_hz(times_ns[-128:], now_ns) == pytest.approx(hz, rel=0.05)


def test_what_has_ended_has_no_rate_and_what_has_just_begun_no_absurd_one() -> None:
    assert rate_hz([1, 2, 3], 2 * RATE_NS) == 0.0
    assert rate_hz([0], 1) == 0.0
    assert rate_hz([0, 1000], 1001) == 1.0
