"""From a change in what the cameras see to the first executed action that knows of it, asynchronously and in turns.

A change may come at any time. It is known to an action when the frame behind its chunk was captured after it, and the
action was not decided already by the chunk before.
"""

from __future__ import annotations

import bisect
import statistics

import msgspec
import numpy as np

from st4vla.benchmarks.serving import servers
from st4vla.benchmarks.serving.streams import Stream, stream
from st4vla.contracts.clock import NS_PER_MS, NS_PER_S

RATE_HZ, ACT_MS = 20.0, 20.0
PLANS_MS = (50.0, 200.0, 1000.0)
#: How many times as fast the asynchronous one must react at the slowest planner.
BAR = 5.0
#: Moments of change that are tried in each stream.
MOMENTS = 2000
HEADER = ("System 2 ms", "asynchronous p50 ms", "p95 ms", "synchronous p50 ms", "p95 ms", "times as fast", "bar")


class Reaction(msgspec.Struct, frozen=True):
    """Reaction times with a planner of one speed.

    Attributes:
        plan_ms: How long System 2 takes.
        asynchronous_ms: Of each change.
        synchronous_ms: The same, when each frame is planned before it is acted on.
    """

    plan_ms: float
    asynchronous_ms: tuple[float, ...]
    synchronous_ms: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times as fast the asynchronous one is at the median."""
        return statistics.median(self.synchronous_ms) / statistics.median(self.asynchronous_ms)

    def row(self) -> tuple[object, ...]:
        """Return a table's row under `HEADER`."""
        times = [
            round(float(np.percentile(each, percent)), 1)
            for each in (self.asynchronous_ms, self.synchronous_ms)
            for percent in (50, 95)
        ]
        return (self.plan_ms, *times, self.ratio, f"at least {BAR:g}" if self.plan_ms == max(PLANS_MS) else "")

    def missed(self) -> list[str]:
        """Return what falls short of its bar, in words."""
        if self.plan_ms < max(PLANS_MS) or self.ratio >= BAR:
            return []
        return [f"reaction at {self.plan_ms:g} ms: {self.ratio:.1f} times as fast, {BAR:g} was wanted"]


def measure(plan_ms: float, seconds: float, seed: int = 0) -> Reaction:
    """Stream into both modes and try changes at random moments; a slow planner gets ten plans' time at least."""
    seconds = max(seconds, 10 * plan_ms / 1e3)
    arguments = ("--plan-ms", str(plan_ms), "--act-ms", str(ACT_MS), "--plan-period-ms", "1")
    times = []
    for mode in ((), ("--synchronous",)):
        with servers.serving("ours", *arguments, *mode) as endpoint:
            found = stream(endpoint, rate_hz=RATE_HZ, seconds=seconds)
        times.append(tuple(_reactions_ms(found, np.random.default_rng(seed))))
    return Reaction(plan_ms, *times)


def _reactions_ms(found: Stream, rng: np.random.Generator) -> list[float]:
    """Return the time from random moments to the first action of a chunk whose frame is younger."""
    known = []
    for chunk, arrived_ns in found.arrivals:
        # The first action that is not frozen begins on its grid, and not before the chunk has arrived.
        step = max(chunk.frozen_steps, -(-(arrived_ns - chunk.start_ns) // chunk.period_ns))
        known.append((chunk.frame_capture_ns, chunk.start_ns + step * chunk.period_ns))
    captures = [capture_ns for capture_ns, _ in known]
    first, last = captures[1], captures[-2]
    if last - first < NS_PER_S:
        msg = (
            f"only {(last - first) / NS_PER_MS:.0f} ms between the second chunk and the last but one; stream for longer"
        )
        raise ValueError(msg)
    moments = rng.integers(first, last, MOMENTS)
    return [(known[bisect.bisect_left(captures, int(moment))][1] - int(moment)) / NS_PER_MS for moment in moments]
