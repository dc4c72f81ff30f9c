import re
import sys
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from st4vla.contracts.errors import MissingExtraError
from st4vla.contracts.messages import ErrorCode
from st4vla.runtime.diagnosis import CAUSES, Cause
from st4vla.runtime.distribution import BOUNDS_S, Distribution
from st4vla.runtime.metrics import Exposition
from st4vla.runtime.snapshot import ClientSnapshot, Snapshot, SystemSnapshot

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
CLIENT = ClientSnapshot("zmq:1", "lift", 20.0, 10.0, 100.0, 250.0, "RUN", 7, 3, 0.1, 0.05, 40.0, 0.01)


def snapshot(**fields: Any) -> Snapshot:
    return Snapshot("tiny", "ab" * 32, **({"health": "ready", "ready": True, "cause_names": CAUSES} | fields))


def parsed(found: Snapshot) -> list[Sample]:
    _, text = Exposition(lambda: found).write("")
    return [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]


def samples(found: Snapshot) -> dict[tuple[str, ...], float]:
    """Return every sample that is not of a bucket by its name and the value of its label."""
    return {(one.name, *one.labels.values()): one.value for one in parsed(found) if "le" not in one.labels}


@pytest.fixture
def systems() -> tuple[SystemSnapshot, SystemSnapshot]:
    fast, slow = Distribution(), Distribution()
    for number in range(100):
        fast.add(number, 12_000_000)
    slow.add(0, 60_000_000_000)
    return SystemSnapshot(fast.figures(100), failures=4, busy_s=0.5), SystemSnapshot(slow.figures(100))


def test_both_formats_are_ones_that_prometheus_can_read() -> None:
    exposition = Exposition(lambda: snapshot(clients=(CLIENT,), counts={"chunks": 3, "something_new": 1}))
    kind, text = exposition.write("")
    assert kind.startswith("text/plain")
    plain = {family.name for family in text_string_to_metric_families(text.decode())}
    kind, text = exposition.write(OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    assert len(list(parse_openmetrics(text.decode()))) == len(plain)


def test_names_follow_prometheus_rules() -> None:
    _, text = Exposition(snapshot).write("")
    for family in text_string_to_metric_families(text.decode()):
        if not family.name.startswith("process_"):
            assert re.fullmatch(r"st4vla_[a-z0-9_]+", family.name)
            assert not re.search(r"_(ms|ns|milliseconds|hz)(_|$)", family.name), "base units"
            assert family.documentation.endswith(".")
            assert all(s.name.endswith("_total") for s in family.samples if family.type == "counter")


def test_counts_become_counters_with_the_cause_as_a_label() -> None:
    counts = {
        "observations": 100,
        "chunks": 80,
        "chunks_late": 5,
        "plans": 9,
        "plans_period": 8,
        "plans_first": 1,
        "refused_deadline": 5,
        "frames_superseded": 12,
        "replies_superseded": 2,
    }
    found = samples(snapshot(counts=counts))
    assert found["st4vla_observations_total",] == 100
    assert found["st4vla_chunks_total",] == 80
    assert found["st4vla_chunks_withheld_total", "late"] == 5
    assert found["st4vla_plans_total", "period"] == 8
    assert sum(value for key, value in found.items() if key[0] == "st4vla_plans_total") == counts["plans"]
    assert found["st4vla_refusals_total", "deadline"] == 5
    assert found["st4vla_frames_superseded_total",] == 12
    assert found["st4vla_replies_superseded_total",] == 2


def test_every_series_is_there_before_it_counts_anything() -> None:
    found = samples(snapshot())
    assert {key[1] for key in found if key[0] == "st4vla_refusals_total"} == {code.name.lower() for code in ErrorCode}
    assert {key[1] for key in found if key[0] == "st4vla_cause"} == set(CAUSES)
    assert found["st4vla_chunks_total",] == 0


def test_a_count_that_nobody_knew_of_is_told_too() -> None:
    assert samples(snapshot(counts={"door_refusals": 3}))["st4vla_events_total", "door_refusals"] == 3


def test_health_and_causes_are_told_for_alerts() -> None:
    found = samples(snapshot(health="degraded", causes=(Cause("unsafe_output", "x"), Cause("odd", "y"))))
    assert found["st4vla_health", "degraded"] == 1
    assert found["st4vla_health", "ready"] == 0
    assert found["st4vla_cause", "unsafe_output"] == found["st4vla_cause", "odd"] == 1
    assert found["st4vla_cause", "system1_hangs"] == 0


def test_histograms_are_cumulative_seconds(systems: tuple[SystemSnapshot, SystemSnapshot]) -> None:
    told = snapshot(system1=systems[0], system2=systems[1])
    name, found = "st4vla_inference_seconds", samples(told)
    assert (found[f"{name}_count", "1"], found[f"{name}_count", "2"]) == (100, 1)
    assert found[f"{name}_sum", "1"] == pytest.approx(1.2)
    fast, slow = (
        {
            one.labels["le"]: one.value
            for one in parsed(told)
            if one.name == f"{name}_bucket" and one.labels["system"] == n
        }
        for n in ("1", "2")
    )
    assert len(fast) == len(slow) == len(BOUNDS_S) + 1
    assert (fast["0.01"], fast["0.02"], fast["+Inf"]) == (0, 100, 100)
    assert (slow["30.0"], slow["+Inf"]) == (0, 1), "a minute lies beyond every bound"
    assert (found["st4vla_failures_total", "1"], found["st4vla_busy_seconds", "1"]) == (4, 0.5)


def test_clients_are_counted_and_have_no_series_of_their_own() -> None:
    found = samples(snapshot(clients=(CLIENT, CLIENT), max_clients=8))
    assert (found["st4vla_clients",], found["st4vla_max_clients",]) == (2, 8)
    assert found["st4vla_oldest_plan_age_seconds",] == 0.25
    assert not [key for key in found if "zmq:1" in key]


def test_the_process_is_watched_as_well() -> None:
    assert samples(snapshot())["process_resident_memory_bytes",] > 0


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'st4vla\[metrics\]'"):
        Exposition(snapshot)
