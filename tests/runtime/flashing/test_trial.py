from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from st4vla.contracts.clock import NS_PER_S
from st4vla.contracts.release import LatencyBudget
from st4vla.runtime.diagnosis import Cause
from st4vla.runtime.distribution import BOUNDS_S, Figures
from st4vla.runtime.flashing.config import TrialConfig
from st4vla.runtime.flashing.trial import SETTLE_S, Trial, percentile_ms
from st4vla.runtime.probe_report import ProbeReport
from st4vla.runtime.snapshot import ClientSnapshot, Drops, Snapshot, SystemSnapshot

CLIENT = ClientSnapshot("zmq:1", "lift", 10.0, 20.0, 100.0, 100.0, "RUN", 7, 0, 0.0, 0.1, 30.0, 0.1)
WELL = Snapshot("new", "d", "ready", ready=True, clients=(CLIENT,))
NOBODY = replace(WELL, clients=())
SECONDS = 60.0


@dataclass
class Judge:
    """A trial, looked at once a second."""

    config: TrialConfig = field(default_factory=lambda: TrialConfig(seconds=SECONDS))
    budget: LatencyBudget = field(default_factory=LatencyBudget)
    before: Snapshot | None = WELL
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.trial = Trial(self.config, self.budget, self.before, 0)

    def look(self, snapshot: Snapshot, seconds: float = 1.0, probe: ProbeReport | None = None) -> str | None:
        """Show the same for a while, and return the first reason to fail."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += 1.0
            failed = self.trial.look(snapshot, probe, round(self.now_s * NS_PER_S))
            if failed is not None:
                return failed
        return None

    def has_passed(self) -> bool:
        return self.trial.has_passed(round(self.now_s * NS_PER_S))


def ages(*ms: float) -> Figures:
    """Return what a histogram of ages holds."""
    buckets = [0] * (len(BOUNDS_S) + 1)
    for one in ms:
        buckets[next((i for i, bound in enumerate(BOUNDS_S) if one <= bound * 1e3), len(BOUNDS_S))] += 1
    return Figures(count=len(ms), buckets=tuple(buckets))


def test_a_policy_that_does_well_passes_when_its_time_is_over_and_not_before() -> None:
    judge = Judge()
    assert judge.look(WELL, SECONDS - 1) is None
    assert not judge.has_passed()
    assert judge.look(WELL) is None
    assert judge.has_passed()


FAILURES = {
    "not ready": (replace(WELL, ready=False, causes=(Cause("act_ended", "a thread ended"),)), "a thread ended"),
    "NaN": (replace(WELL, drops=Drops(refused={"unsafe_output": 1})), "1 chunks held NaN"),
    "System 1": (replace(WELL, system1=SystemSnapshot(failures=3)), "System 1 failed in 3 calls; at most 0 may"),
    "hangs": (replace(WELL, causes=(Cause("system2_hangs", "it hangs"),)), "system2_hangs: it hangs"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_ends_the_trial_at_once(name: str) -> None:
    snapshot, said = FAILURES[name]
    failed = Judge().look(snapshot)
    assert failed is not None
    assert said in failed


def test_a_cause_that_the_policy_before_it_had_as_well_says_nothing() -> None:
    cause = Cause("system2_fails", "it failed")
    judge = Judge(before=replace(WELL, causes=(cause,)))
    assert judge.look(replace(WELL, causes=(cause,)), SECONDS) is None
    assert judge.has_passed()


def test_causes_that_are_not_of_the_policy_s_making_are_let_pass() -> None:
    causes = (Cause("degraded_bundle", "missed its gate"), Cause("recording_ended", "the disk is full"))
    judge = Judge()
    assert judge.look(replace(WELL, causes=causes), SECONDS) is None
    assert judge.has_passed()


def rated(rate_hz: float) -> Snapshot:
    return replace(WELL, clients=(replace(CLIENT, rate_hz=rate_hz),))


def test_a_low_rate_ends_the_trial_when_it_lasts() -> None:
    failed = Judge().look(rated(6.9), SECONDS)
    assert failed is not None
    assert "client zmq:1 gets 6.9 chunks a second and got 10.0" in failed
    assert Judge().look(rated(7.0), SECONDS) is None


def test_a_rate_that_recovers_is_forgiven_and_one_at_the_end_makes_the_trial_longer() -> None:
    judge = Judge()
    assert judge.look(WELL, SECONDS - 2) is None
    assert judge.look(rated(1.0), 3) is None
    assert not judge.has_passed()
    assert "gets 1.0 chunks" in judge.trial.doubts()[0]
    assert judge.look(WELL) is None
    assert judge.has_passed()


def test_a_client_that_fell_silent_or_is_new_is_not_compared() -> None:
    silent = replace(CLIENT, rate_hz=0.0, last_seen_s=3.0)
    other = replace(CLIENT, name="zmq:2", rate_hz=1.0)
    judge = Judge()
    assert judge.look(replace(WELL, clients=(silent, other)), SECONDS) is None
    assert judge.has_passed()


def test_clients_that_get_nothing_end_the_trial_also_when_nothing_is_known_of_before() -> None:
    waiting = replace(WELL, clients=(replace(CLIENT, chunk_id=None, rate_hz=0.0, pace=None),))
    failed = Judge(before=None).look(waiting, SECONDS)
    assert failed == "1 clients send observations and have got no chunk"


def test_a_client_that_must_stop_ends_the_trial() -> None:
    stopped = replace(WELL, clients=(replace(CLIENT, pace="STOP"),))
    failed = Judge().look(stopped, SECONDS)
    assert failed is not None
    assert "1 clients must stop" in failed
    assert Judge(before=stopped).look(stopped, SECONDS) is None


def test_old_frames_end_the_trial_and_the_first_ones_do_not_count() -> None:
    config = TrialConfig(seconds=SECONDS, max_frame_age_ms=100.0)
    cold = replace(WELL, frame_age=ages(900.0))
    judge = Judge(config)
    assert judge.look(cold, SETTLE_S) is None
    assert judge.look(replace(WELL, frame_age=ages(900.0, *[40.0] * 50)), SECONDS) is None
    assert judge.has_passed()
    judge = Judge(config)
    assert judge.look(cold, SETTLE_S) is None
    failed = judge.look(replace(WELL, frame_age=ages(900.0, *[140.0] * 50)), SECONDS)
    assert failed is not None
    assert "100 ms are allowed" in failed


def test_more_stale_answers_than_before_end_the_trial() -> None:
    judge = Judge()
    assert judge.look(WELL, SETTLE_S) is None
    failed = judge.look(replace(WELL, frame_age=ages(*[10.0] * 10), drops=Drops(stale=5)), SECONDS)
    assert failed == "33 % of the observations became too old to act on; before it were 0 %"


def test_without_clients_the_server_must_have_answered_itself() -> None:
    judge = Judge(before=NOBODY)
    assert judge.trial.wants_probe(NOBODY)
    assert not judge.trial.wants_probe(WELL)
    assert judge.look(NOBODY, SECONDS) is None
    assert not judge.has_passed()
    assert judge.look(NOBODY, 1.0, ProbeReport(chunks=3, system1_ms=10.0)) is None
    assert judge.has_passed()


def test_a_probe_that_fails_or_is_slower_than_the_release_allows_ends_the_trial() -> None:
    assert Judge().look(NOBODY, 1.0, ProbeReport("no chunk came")) == "no chunk came"
    slow, budget = ProbeReport(chunks=3, system1_ms=40.0, system2_ms=70.0), LatencyBudget(30.0, 80.0)
    failed = Judge(budget=budget).look(NOBODY, 1.0, slow)
    assert failed == "System 1 took 40.0 ms at best for the golden views; its release allows 30 ms"


def test_percentiles_of_a_histogram_lie_where_its_values_are() -> None:
    assert percentile_ms(ages().buckets, 0.99) == 0.0
    assert percentile_ms(ages(*[40.0] * 100).buckets, 0.5) == pytest.approx(40.0)
    assert 50.0 < percentile_ms(ages(*[10.0] * 90, *[60.0] * 10).buckets, 0.99) <= 75.0
    assert percentile_ms(ages(1e6).buckets, 0.99) == BOUNDS_S[-1] * 1e3
