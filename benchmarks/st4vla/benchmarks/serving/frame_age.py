"""How old the frame behind each chunk is when frames come faster than the policy thinks."""

from __future__ import annotations

import msgspec

from st4vla.benchmarks.serving import servers
from st4vla.benchmarks.serving.streams import stream_many
from st4vla.contracts.clock import NS_PER_MS
from st4vla.runtime.telemetry import percentiles

RATE_HZ, ACT_MS = 60.0, 50.0
#: No frame behind a chunk may be older, in periods of the policy.
BAR_PERIODS = 2.0
#: Clients connect and first plans are made meanwhile.
WARM_UP = 2
HEADER = ("clients", "chunks", "frame age p50 ms", "p99 ms", "max ms", "bar")


class FrameAges(msgspec.Struct, frozen=True):
    """Ages of the frames behind the chunks of one run.

    Attributes:
        clients: How many sent at once.
        ages_ms: Of each chunk, from its frame's capture to its arrival.
        errors: Observations that got no chunk but an error.
    """

    clients: int
    ages_ms: tuple[float, ...]
    errors: int

    def row(self) -> tuple[object, ...]:
        """Return a table's row under `HEADER`."""
        found = percentiles(self.ages_ms, (50, 99, 100))
        bar = f"at most {BAR_PERIODS * ACT_MS:g} ms"
        return (self.clients, len(self.ages_ms), found["p50"], found["p99"], found["max"], bar)

    def missed(self) -> list[str]:
        """Return what falls short of its bar, in words."""
        oldest = max(self.ages_ms, default=float("inf"))
        if oldest <= BAR_PERIODS * ACT_MS and not self.errors:
            return []
        bound_ms = BAR_PERIODS * ACT_MS
        age = f"the oldest frame behind a chunk was {oldest:.1f} ms old, at most {bound_ms:g} ms was wanted"
        return [f"{self.clients} clients: {age}; {self.errors} errors"]


def measure(clients: int, seconds: float) -> FrameAges:
    """Stream from some clients at `RATE_HZ` into a policy that takes `ACT_MS`."""
    with servers.serving("ours", "--act-ms", str(ACT_MS)) as endpoint:
        found = stream_many(endpoint, clients, rate_hz=RATE_HZ, seconds=seconds)
    ages = [
        (arrived_ns - chunk.frame_capture_ns) / NS_PER_MS
        for each in found
        for chunk, arrived_ns in each.arrivals[WARM_UP:]
    ]
    return FrameAges(clients, tuple(ages), sum(len(each.errors) for each in found))
