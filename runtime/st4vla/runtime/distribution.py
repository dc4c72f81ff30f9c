"""How long something takes and how often it happens: percentiles of what is recent, and a histogram of everything."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

import msgspec

from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.runtime.telemetry import percentiles

#: Upper ends of the histogram's buckets, in seconds; one more bucket holds what is longer.
BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30)
_BOUNDS_NS = tuple(round(bound_s * NS_PER_S) for bound_s in BOUNDS_S)
#: Percentiles are of so many values at most, none of them older.
CAPACITY, WINDOW_NS = 1024, 60 * NS_PER_S
#: Rates are of this time.
RATE_NS = 5 * NS_PER_S
#: With fewer times than these, a rate is not taken of less than a second: two calls in a row are no rate yet.
ENOUGH_TIMES = 128


class Figures(msgspec.Struct, frozen=True):
    """What a distribution amounts to.

    Attributes:
        count: Values so far.
        sum_s: Their sum.
        buckets: How many fell into each bucket of `BOUNDS_S`, and, last, beyond.
        rate_hz: How often there was one in the last seconds.
        p50_ms: Of the recent values, as the others; None when there are none.
        p95_ms: See above.
        p99_ms: See above.
        max_ms: See above.
    """

    count: int = 0
    sum_s: float = 0.0
    buckets: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)
    rate_hz: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


class Distribution:
    """Values in nanoseconds, added by one thread and read by any.

    Adding costs a search in a short tuple and three stores. Reading copies the ring, which the interpreter does in one
    step; a value that is added meanwhile may be in the histogram and not yet in the sum.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[int, int]] = deque(maxlen=CAPACITY)
        self._buckets = [0] * (len(BOUNDS_S) + 1)
        self._sum_ns = 0

    def add(self, at_ns: int, value_ns: int) -> None:
        """Add a value that was measured at a time of this machine's clock."""
        self._recent.append((at_ns, value_ns))
        self._buckets[bisect_left(_BOUNDS_NS, value_ns)] += 1
        self._sum_ns += value_ns

    def figures(self, now_ns: int) -> Figures:
        """Return what it amounts to."""
        recent = self._recent.copy()
        values_ms = [value_ns / NS_PER_MS for at_ns, value_ns in recent if now_ns - at_ns < WINDOW_NS]
        found = percentiles(values_ms, (50, 95, 99, 100))
        buckets = tuple(self._buckets)
        return Figures(
            sum(buckets),
            self._sum_ns / NS_PER_S,
            buckets,
            rate_hz([at_ns for at_ns, _ in recent], now_ns),
            **{f"{name}_ms": value for name, value in found.items()},
        )

    def median_ns(self) -> int:
        """Return the median of the values that are remembered, however old; 0 without any."""
        ordered = sorted(value_ns for _, value_ns in self._recent.copy())
        return ordered[len(ordered) // 2] if ordered else 0


def rate_hz(times_ns: Sequence[int], now_ns: int) -> float:
    """Return how often something happened in the last seconds, from the rising times that are remembered of it."""
    recent = [at_ns for at_ns in times_ns if now_ns - at_ns < RATE_NS]
    shortest_ns = 1
    if len(recent) < len(times_ns):
        since_ns, count = max(times_ns[-len(recent) - 1], now_ns - RATE_NS), len(recent)
    else:
        # Nothing older is known: it has just begun, or it happens more often than is remembered.
        since_ns, count = recent[0] if recent else now_ns, len(recent) - 1
        shortest_ns = NS_PER_S if len(recent) < ENOUGH_TIMES else 1
    if count < 1:
        return 0.0
    # Up to the last time, so that a steady rate is met; what should have come again since then has become rarer.
    span_ns = max(recent[-1] - since_ns, (now_ns - since_ns) * count // (count + 1), shortest_ns)
    return count * NS_PER_S / span_ns
