"""Integer monotonic time, and the offset between two machines' clocks.

Every time in this project is an ``int`` of nanoseconds on some machine's monotonic clock. Two machines' clocks share
neither origin nor rate, so an offset is estimated from round trips and carried; it is never assumed to be zero.
"""

from __future__ import annotations

import time
from collections import deque

import msgspec

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
#: How far two clocks may drift apart within the samples that are kept: 100 parts in a million for ten seconds.
MAX_DRIFT_NS = 1_000_000


def monotonic_ns() -> int:
    """Return this machine's monotonic clock in nanoseconds."""
    return time.monotonic_ns()


class ClockOffset(msgspec.Struct, frozen=True, gc=False):
    """What must be added to local time to get the peer's time.

    Attributes:
        offset_ns: peer_ns - local_ns.
        error_bound_ns: Half the round trip of the sample behind it: the true offset lies within this bound as long as
            neither clock steps, however asymmetric the way.
    """

    offset_ns: int
    error_bound_ns: int


class ClockOffsetEstimator:
    """Estimate the offset to a peer's clock from request and reply times (RFC 5905, section 8).

    Keeps the last `window` samples and believes the one with the shortest round trip, whose bound is the tightest. A
    sample that contradicts it beyond both bounds means that a clock has stepped: what was believed is forgotten.
    """

    def __init__(self, window: int = 64) -> None:
        self._samples: deque[ClockOffset] = deque(maxlen=window)
        self._believed: ClockOffset | None = None

    def add(self, *, sent_ns: int, peer_received_ns: int, peer_replied_ns: int, received_ns: int) -> None:
        """Add one exchange: two times on the local clock, two on the peer's.

        Raises:
            ValueError: A reply that arrives before its request, which no clock pair can produce.
        """
        round_trip_ns = (received_ns - sent_ns) - (peer_replied_ns - peer_received_ns)
        if received_ns < sent_ns or peer_replied_ns < peer_received_ns or round_trip_ns < 0:
            msg = f"impossible exchange: local {sent_ns} to {received_ns}, peer {peer_received_ns} to {peer_replied_ns}"
            raise ValueError(msg)
        offset_ns = ((peer_received_ns - sent_ns) + (peer_replied_ns - received_ns)) // 2
        sample = ClockOffset(offset_ns, (round_trip_ns + 1) // 2)
        believed = self._believed
        if believed is not None:
            apart_ns = abs(sample.offset_ns - believed.offset_ns)
            if apart_ns > sample.error_bound_ns + believed.error_bound_ns + MAX_DRIFT_NS:
                self.forget()
        loses_believed = len(self._samples) == self._samples.maxlen and self._samples[0] is self._believed
        self._samples.append(sample)
        if loses_believed:
            self._believed = min(self._samples, key=lambda sample: sample.error_bound_ns)
        elif self._believed is None or sample.error_bound_ns < self._believed.error_bound_ns:
            self._believed = sample

    def forget(self) -> None:
        """Believe nothing any more: a clock has stepped."""
        self._samples.clear()
        self._believed = None

    @property
    def estimate(self) -> ClockOffset | None:
        """The best estimate so far, or None before the first exchange."""
        return self._believed
