"""kill -9 in mid-request."""

import itertools
import time
from collections.abc import Callable
from typing import Any

HOLD_MS = 400


def executed_ages_ms(seen: dict[str, Any]) -> list[float]:
    return [age_ms for _, age_ms in seen["executed"]]


def test_a_killed_server_leaves_no_stale_action_and_the_next_one_serves_within_a_second(
    start: Callable[..., Any], lasting: Callable[[float], None]
) -> None:
    server = start("server", "tcp://127.0.0.1:*")
    loop = start("loop", server.first)
    lasting(1.0)
    server.kill()
    killed_ns = time.monotonic_ns()
    lasting(1.5)
    again = start("server", server.first)
    back_ns = time.monotonic_ns()
    lasting(1.2)
    seen = loop.finish()
    gap = [at for at in seen["arrivals"] if killed_ns + 50_000_000 < at < back_ns - 50_000_000]
    assert not gap, "nobody was there to answer"
    first_after = next(at for at in seen["arrivals"] if at > back_ns - 50_000_000)
    assert (first_after - back_ns) / 1e9 < 1.0
    assert max(executed_ages_ms(seen)) < HOLD_MS
    after_hold = [at for at, _ in seen["executed"] if killed_ns + HOLD_MS * 1_000_000 < at < back_ns - 50_000_000]
    assert not after_hold, "the arm holds while nobody answers"
    assert again.finish()["plans_first"] == 1


def test_a_killed_client_costs_the_others_nothing_and_its_place_is_free_again(
    start: Callable[..., Any], lasting: Callable[[float], None]
) -> None:
    server = start("server", "tcp://127.0.0.1:*")
    well, doomed = start("loop", server.first), start("loop", server.first)
    lasting(1.0)
    doomed.kill()
    killed_ns = time.monotonic_ns()
    lasting(1.5)
    seen, counts = well.finish(), server.finish()
    arrivals = [at for at in seen["arrivals"] if at > killed_ns]
    longest_s = max(later - earlier for earlier, later in itertools.pairwise(arrivals)) / 1e9
    assert longest_s < 0.25
    assert len(arrivals) > 30
    assert counts.get("replies_dropped", 0) <= 2, "a client that is gone is forgotten"
    assert not seen["errors"]
