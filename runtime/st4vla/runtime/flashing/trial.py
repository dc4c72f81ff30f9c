"""What a new policy is held to while it serves and is not committed yet.

Two kinds of findings. A *failure* ends the trial at once: NaN, a run that failed, a system that hangs. A *doubt* may
come from the switch itself, such as a rate that has yet to rise: it ends the trial when it lasts, and while there is
one the trial is not passed either, however long it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from st4vla.contracts.clock import NS_PER_S
from st4vla.contracts.release import LatencyBudget
from st4vla.contracts.staleness import Pace
from st4vla.runtime.distribution import BOUNDS_S
from st4vla.runtime.flashing.config import TrialConfig
from st4vla.runtime.probe_report import ProbeReport
from st4vla.runtime.snapshot import ClientSnapshot, Snapshot

#: Doubts are looked for after so long, or after half of the trial, and end it when they last as long again.
SETTLE_S = 5.0
#: A client that was silent for longer waits for nothing.
ACTIVE_S = 2.0
#: Causes that may come from the switch itself, or be the network's.
DOUBTFUL = frozenset({"stale_answers", "stale_plans"})
#: Causes that say nothing of how the policy does: known when it was signed, and a full disk.
HARMLESS = frozenset({"degraded_bundle", "recording_ended"})
#: Stale answers that are none too many, and how much larger their share may be than it was before.
FEW_STALE, STALE_SHARE_MORE = 3, 0.05


class Trial:
    """Judge a server by its snapshots. Times are this machine's monotonic clock.

    Args:
        config: What it is held to.
        budget: What its release allows both systems.
        before: The last snapshot of the policy before it, or None.
        began_ns: When it began to serve.
    """

    def __init__(self, config: TrialConfig, budget: LatencyBudget, before: Snapshot | None, began_ns: int) -> None:
        self._config, self._budget, self._before = config, budget, before
        self._began_ns = began_ns
        self._settle_ns = round(min(SETTLE_S, config.seconds / 2) * NS_PER_S)
        self._settled: Snapshot | None = None
        self._doubts: dict[str, int] = {}
        self._said: dict[str, str] = {}
        self._probed = False
        self._seen: Snapshot | None = None

    def elapsed_s(self, now_ns: int) -> float:
        """Return how long it has served."""
        return (now_ns - self._began_ns) / NS_PER_S

    def look(self, snapshot: Snapshot, probe: ProbeReport | None, now_ns: int) -> str | None:
        """Take a snapshot in, and return why the policy has failed, or None."""
        self._seen = snapshot
        self._probed |= probe is not None and not probe.text
        failed = next(self._failures(snapshot, probe), None)
        if failed is not None or now_ns - self._began_ns < self._settle_ns:
            return failed
        if self._settled is None:
            self._settled = snapshot
        self._said = dict(self._find_doubts(snapshot))
        self._doubts = {name: self._doubts.get(name, now_ns) for name in self._said}
        lasting = [name for name, since_ns in self._doubts.items() if now_ns - since_ns >= self._settle_ns]
        return self._said[lasting[0]] if lasting else None

    def has_passed(self, now_ns: int) -> bool:
        """Say whether it has served long enough, without a doubt, and for somebody."""
        if self._settled is None or self._doubts or self.elapsed_s(now_ns) < self._config.seconds:
            return False
        assert self._seen is not None  # noqa: S101 - there is a settled one
        return self._probed or any(client.chunk_id is not None for client in active_clients(self._seen))

    def wants_probe(self, snapshot: Snapshot) -> bool:
        """Say whether nobody asks the policy, so that the server must ask itself."""
        return not active_clients(snapshot)

    def doubts(self) -> Sequence[str]:
        """Return what speaks against it, in sentences."""
        return tuple(self._said.values())

    def _failures(self, snapshot: Snapshot, probe: ProbeReport | None) -> Iterator[str]:
        if not snapshot.ready:
            why = "; ".join(cause.text for cause in snapshot.causes) or "it says not why"
            yield f"the server does not answer observations: {why}"
        unsafe = snapshot.drops.refused.get("unsafe_output", 0)
        if unsafe:
            yield f"{unsafe} chunks held NaN or infinity and were withheld; not one may"
        allowed = self._config.max_system1_failures
        if snapshot.system1.failures > allowed:
            yield f"System 1 failed in {snapshot.system1.failures} calls; at most {allowed} may"
        for cause in snapshot.causes:
            if cause.name not in DOUBTFUL and not self._is_excused(cause.name):
                yield f"{cause.name}: {cause.text}"
        if probe is not None:
            yield from self._probe_failures(probe)

    def _probe_failures(self, probe: ProbeReport) -> Iterator[str]:
        if probe.text:
            yield probe.text
        for name, took_ms, allowed_ms in (
            ("System 1", probe.system1_ms, self._budget.system1_ms),
            ("System 2", probe.system2_ms, self._budget.system2_ms),
        ):
            if took_ms is not None and allowed_ms is not None and took_ms > allowed_ms:
                yield f"{name} took {took_ms:.1f} ms at best for the golden views; its release allows {allowed_ms:g} ms"

    def _find_doubts(self, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
        for cause in snapshot.causes:
            if cause.name in DOUBTFUL and not self._is_excused(cause.name):
                yield cause.name, f"{cause.name}: {cause.text}"
        active = active_clients(snapshot)
        if active and all(client.chunk_id is None for client in active):
            yield "no_chunk", f"{len(active)} clients send observations and have got no chunk"
        yield from self._rates(active)
        stopped = sum(client.pace == Pace.STOP.name for client in active)
        before = sum(client.pace == Pace.STOP.name for client in active_clients(self._before))
        if stopped > before:
            yield (
                "stops",
                f"{stopped} clients must stop by the age of what they have; {before} had to before the switch",
            )
        yield from self._ages(snapshot)

    def _rates(self, active: Sequence[ClientSnapshot]) -> Iterator[tuple[str, str]]:
        """Compare each client that was served before and still sends with what it got then."""
        before = {client.name: client.rate_hz for client in active_clients(self._before)}
        for client in active:
            had_hz, share = before.get(client.name, 0.0), self._config.min_rate_share
            if client.rate_hz < share * had_hz:
                text = (
                    f"client {client.name} gets {client.rate_hz:.1f} chunks a second and got {had_hz:.1f} before the "
                    f"switch; {share * 100:g} % of that is the least"
                )
                yield f"rate {client.name}", text

    def _ages(self, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
        """Judge ages since the policy settled: the first chunk of each client waits for a plan."""
        assert self._settled is not None  # noqa: S101 - doubts are looked for after that
        counts = [
            now - then for now, then in zip(snapshot.frame_age.buckets, self._settled.frame_age.buckets, strict=True)
        ]
        allowed_ms, age_ms = self._config.max_frame_age_ms, percentile_ms(counts, 0.99)
        if allowed_ms is not None and age_ms > allowed_ms:
            text = (
                f"frames are about {age_ms:.0f} ms old when their chunks are handed out (99th percentile); "
                f"{allowed_ms:g} ms are allowed"
            )
            yield "frame_age", text
        stale = snapshot.drops.stale - self._settled.drops.stale
        share = stale / max(stale + sum(counts), 1)
        had = 0.0
        if self._before is not None:
            had = self._before.drops.stale / max(self._before.drops.stale + self._before.frame_age.count, 1)
        if stale >= FEW_STALE and share > had + STALE_SHARE_MORE:
            text = f"{share * 100:.0f} % of the observations became too old to act on; before it were {had * 100:.0f} %"
            yield "stale", text

    def _is_excused(self, cause: str) -> bool:
        """Say whether a cause says nothing of this policy, or was there before it as well."""
        return cause in HARMLESS or (self._before is not None and cause in {one.name for one in self._before.causes})


def active_clients(snapshot: Snapshot | None) -> list[ClientSnapshot]:
    """Return the clients that wait for something; none of no snapshot."""
    return [] if snapshot is None else [client for client in snapshot.clients if client.last_seen_s <= ACTIVE_S]


def percentile_ms(buckets: Sequence[int], share: float) -> float:
    """Return about where a share of the values of a histogram over `BOUNDS_S` ends; 0 without any values."""
    total, seen = sum(buckets), 0
    edges = (0.0, *BOUNDS_S, BOUNDS_S[-1])
    for lower, upper, count in zip(edges[:-1], edges[1:], buckets, strict=True):
        if count and seen + count >= share * total:
            return (lower + (upper - lower) * (share * total - seen) / count) * 1e3
        seen += count
    return 0.0
