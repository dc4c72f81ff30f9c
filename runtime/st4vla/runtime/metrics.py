"""A snapshot as Prometheus metrics: names, units and labels by Prometheus' rules.

Nothing is kept here: each scrape takes a snapshot. A client has no label, because clients have no lasting names and a
series for each connection would never end; `st4vla top` shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from st4vla.contracts.errors import MissingExtraError
from st4vla.contracts.messages import ErrorCode, PlanReason
from st4vla.runtime.distribution import BOUNDS_S, Figures
from st4vla.runtime.snapshot import ClientSnapshot, Snapshot

MS_PER_S = 1000.0
HEALTHS = ("starting", "ready", "degraded", "stopping")
#: Counters without a label: name in the snapshot's counts, name of the metric, what it counts.
COUNTERS = (
    ("messages", "st4vla_messages", "Messages that arrived over ZeroMQ."),
    ("observations", "st4vla_observations", "Observations that were taken in."),
    ("chunks", "st4vla_chunks", "Chunks of actions that were handed out."),
    ("changes", "st4vla_scene_changes", "Times that a scene counted as changed."),
    ("frames_superseded", "st4vla_frames_superseded", "Frames that a newer one replaced before System 1 took them."),
    ("replies_superseded", "st4vla_replies_superseded", "Replies that a newer one replaced before they were taken."),
    ("replies_dropped", "st4vla_replies_dropped", "Replies to clients that were gone."),
    ("handshakes_refused", "st4vla_handshakes_refused", "Strangers that were turned away for want of a key."),
    ("messages_refused", "st4vla_messages_refused", "Messages by a key that is not allowed, or of another's address."),
    ("clients_revoked", "st4vla_clients_revoked", "Clients that were cut off because their key was revoked."),
)
#: Counters with a label: prefix in the snapshot's counts, name, label, values that it always has, what it counts.
LABELLED = (
    ("plans_", "st4vla_plans", "reason", tuple(reason.name.lower() for reason in PlanReason), "Plans, by why."),
    (
        "chunks_",
        "st4vla_chunks_withheld",
        "cause",
        ("late", "stale", "discarded"),
        "Chunks that were not handed out: deadline passed, too old, or nobody to give them to.",
    ),
    (
        "refused_",
        "st4vla_refusals",
        "code",
        tuple(code.name.lower() for code in ErrorCode),
        "Observations and messages that were answered with an error, by its code.",
    ),
)


@dataclass(frozen=True)
class Family:
    """One metric.

    Attributes:
        kind: ``counter`` or ``gauge``.
        name: Without the ``_total`` of a counter.
        text: What it is.
        values: By the value of its label; by an empty one where it has none.
        label: That label's name.
    """

    kind: str
    name: str
    text: str
    values: Mapping[str, float]
    label: str = ""


def families(snapshot: Snapshot) -> Iterator[Family]:
    """Yield every counter and gauge of a snapshot; each series is there from the beginning, at zero."""
    yield from _states(snapshot)
    counts = dict(snapshot.counts)
    counts.pop("plans", None)
    for key, name, text in COUNTERS:
        yield Family("counter", name, text, {"": counts.pop(key, 0)})
    for prefix, name, label, known, text in LABELLED:
        values = dict.fromkeys(known, 0) | {
            key[len(prefix) :]: counts.pop(key) for key in tuple(counts) if key.startswith(prefix)
        }
        yield Family("counter", name, text, values, label)
    yield Family("counter", "st4vla_events", "Whatever else was counted, by name.", counts, "event")


def _states(snapshot: Snapshot) -> Iterator[Family]:
    states = {state: float(state == snapshot.health) for state in HEALTHS}
    yield Family("gauge", "st4vla_health", "1 for the state that the server is in.", states, "state")
    yield Family("gauge", "st4vla_ready", "1 when observations are answered.", {"": float(snapshot.ready)})
    found = {cause.name for cause in snapshot.causes}
    causes = {name: float(name in found) for name in (*snapshot.cause_names, *found)}
    yield Family("gauge", "st4vla_cause", "1 for what is wrong.", causes, "cause")
    yield Family("gauge", "st4vla_uptime_seconds", "Time since the server began to serve.", {"": snapshot.uptime_s})
    yield Family("gauge", "st4vla_clients", "Clients that have a place.", {"": len(snapshot.clients)})
    yield Family("gauge", "st4vla_max_clients", "Places.", {"": snapshot.max_clients})
    systems = {"1": snapshot.system1, "2": snapshot.system2}
    busy = {label: system.busy_s for label, system in systems.items()}
    yield Family("gauge", "st4vla_busy_seconds", "How long a call has been running.", busy, "system")
    failures = {label: float(system.failures) for label, system in systems.items()}
    yield Family("counter", "st4vla_failures", "Calls in which the policy failed.", failures, "system")
    oldest = max((_plan_age_s(client) for client in snapshot.clients), default=0.0)
    yield Family("gauge", "st4vla_oldest_plan_age_seconds", "Age of the oldest plan that is kept.", {"": oldest})


def histograms(snapshot: Snapshot) -> Iterator[tuple[str, str, dict[str, Figures]]]:
    """Yield name, text and figures of every histogram; by system, or by an empty name for both."""
    systems = {"1": snapshot.system1.calls, "2": snapshot.system2.calls}
    yield "st4vla_inference_seconds", "How long calls of a system took.", systems
    ages = "when a chunk was handed out."
    yield "st4vla_frame_age_seconds", f"Age of the frame {ages}", {"": snapshot.frame_age}
    yield "st4vla_plan_age_seconds", f"Age of the plan's frame {ages}", {"": snapshot.plan_age}


def cumulative(figures: Figures) -> list[tuple[str, float]]:
    """Return a histogram's buckets as Prometheus wants them: upper end, and how many are not above it."""
    ends = [*(str(float(bound_s)) for bound_s in BOUNDS_S), "+Inf"]
    return [(end, float(count)) for end, count in zip(ends, accumulate(figures.buckets), strict=True)]


class Exposition:
    """Write what a scrape gets.

    Args:
        read: Takes a snapshot.

    Raises:
        MissingExtraError: prometheus_client is not installed.
    """

    def __init__(self, read: Callable[[], Snapshot]) -> None:
        try:
            import prometheus_client  # noqa: PLC0415 - an extra
            from prometheus_client import core, exposition  # noqa: PLC0415
        except ImportError as error:
            msg = "metrics need prometheus_client; install it with: pip install 'st4vla[metrics]'"
            raise MissingExtraError(msg) from error
        self._read = read
        self._core: Any = core
        self._exposition = exposition
        self._registry: Any = prometheus_client.CollectorRegistry()
        self._registry.register(self)
        prometheus_client.ProcessCollector(registry=self._registry)

    def collect(self) -> Iterator[Any]:
        """Yield metrics as prometheus_client's registry asks for them."""
        snapshot = self._read()
        kinds = {"counter": self._core.CounterMetricFamily, "gauge": self._core.GaugeMetricFamily}
        bundle = {"name": snapshot.bundle_name, "digest": snapshot.bundle_digest}
        yield self._core.InfoMetricFamily("st4vla_bundle", "The bundle that is served.", bundle)
        for family in families(snapshot):
            metric = kinds[family.kind](family.name, family.text, labels=[family.label] if family.label else [])
            for value, count in family.values.items():
                metric.add_metric([value] if family.label else [], count)
            yield metric
        for name, text, by_system in histograms(snapshot):
            label = [] if "" in by_system else ["system"]
            metric = self._core.HistogramMetricFamily(name, text, labels=label)
            for system, figures in by_system.items():
                metric.add_metric([system] if label else [], cumulative(figures), figures.sum_s)
            yield metric

    def write(self, accept: str) -> tuple[str, bytes]:
        """Return content type and text, in the format that an ``Accept`` header prefers."""
        encode, content_type = self._exposition.choose_encoder(accept)
        return content_type, encode(self._registry)


def _plan_age_s(client: ClientSnapshot) -> float:
    return (client.plan_age_now_ms or 0.0) / MS_PER_S
