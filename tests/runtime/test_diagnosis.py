import threading

import numpy as np
import pytest

from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.contracts.errors import EngineError, ObservationError, PromptError, UnsafeOutputError
from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import Observation, View
from st4vla.contracts.staleness import AgeBounds, Staleness
from st4vla.runtime.diagnosis import CACHE_NS, HANG_NS, LINGER_NS, MEMORY_NS, Diagnosis, thread_check
from st4vla.runtime.frame import Frame
from st4vla.runtime.policy import NullPolicy, PlanTensors
from st4vla.runtime.scheduler import Scheduler, SchedulingConfig
from st4vla.runtime.vitals import OUTCOMES, SystemVitals, Vitals

HOLD_NS = 500 * NS_PER_MS
PIXELS = np.zeros((2, 2, 3), np.uint8)


class Patient:
    """What a diagnosis looks at, on a clock that stands until it is turned on."""

    def __init__(self) -> None:
        self.vitals, self.now_ns = Vitals(), NS_PER_S
        staleness = Staleness(plan=AgeBounds(0, HOLD_NS, 2 * HOLD_NS))
        self.scheduler = Scheduler(SchedulingConfig(staleness=staleness), NullPolicy().info.action)
        self.diagnosis = Diagnosis(self.vitals, self.scheduler)

    def causes(self, after_ns: int = CACHE_NS) -> dict[str, str]:
        self.now_ns += after_ns
        return {cause.name: cause.text for cause in self.diagnosis.causes(self.now_ns)}

    def call(self, system: SystemVitals, *errors: Exception | None, takes_ns: int = NS_PER_MS) -> None:
        for error in errors:
            system.begin(self.now_ns)
            self.now_ns += takes_ns
            if error is None:
                system.end(self.now_ns)
            else:
                system.fail(self.now_ns, error)

    def send(self, client: bytes, sequence: int, *, planned: bool, instruction: str = "lift") -> None:
        view = View.from_pixels("agentview", PIXELS, capture_ns=self.now_ns)
        frame = Frame(
            Observation(sequence, (view,), instruction, sent_ns=self.now_ns),
            self.now_ns,
            (ViewSpec("agentview", 2, 2),),
        )
        assert self.scheduler.admit(client, self.now_ns)
        self.scheduler.submit(client, frame)
        if planned:
            job = self.scheduler.take_plan_job(self.now_ns)
            assert job is not None
            self.scheduler.finish_plan(job, PlanTensors({}, 1))


@pytest.fixture
def patient() -> Patient:
    return Patient()


def test_a_system_that_does_nothing_or_works_well_is_healthy(patient: Patient) -> None:
    assert patient.causes() == {}
    patient.call(patient.vitals.system1, *[None] * 100)
    assert patient.causes() == {}
    assert patient.diagnosis.why_dead(patient.now_ns) is None


def test_a_call_that_never_ends_is_named_and_only_a_restart_helps(patient: Patient) -> None:
    patient.vitals.system2.begin(patient.now_ns)
    assert patient.causes(HANG_NS) == {}
    said = patient.causes(2 * NS_PER_S)["system2_hangs"]
    assert said.startswith("System 2 has been in one call for 7 s: restart the server")
    assert patient.diagnosis.why_dead(patient.now_ns) == said
    patient.vitals.system2.end(patient.now_ns)
    assert patient.diagnosis.why_dead(patient.now_ns) is None
    assert patient.causes() == {}, "what has ended so clearly is not shown any longer"


def test_a_planner_whose_calls_always_take_long_does_not_hang(patient: Patient) -> None:
    patient.call(patient.vitals.system2, None, None, takes_ns=2 * HANG_NS)
    patient.vitals.system2.begin(patient.now_ns)
    patient.now_ns += 3 * HANG_NS
    assert patient.diagnosis.why_dead(patient.now_ns) is None
    patient.now_ns += 4 * HANG_NS
    assert patient.diagnosis.why_dead(patient.now_ns) is not None


def test_an_engine_that_fails_often_is_named_with_what_it_said_until_it_fails_rarely(patient: Patient) -> None:
    system = patient.vitals.system1
    error = EngineError("out\nof memory")
    patient.call(system, *[None] * 8, error, error)
    assert patient.causes() == {}, "two failures are no cause"
    patient.call(system, error)
    said = patient.causes()["system1_fails"]
    assert said.startswith("System 1 failed in 3 of its last 11 calls (EngineError: out of memory)")
    patient.call(system, *[None] * 20)
    patient.causes(LINGER_NS)
    assert "system1_fails" in patient.causes(), "a tenth fails: too few to raise it, too many to end it"
    patient.call(system, *[None] * OUTCOMES)
    assert patient.causes(LINGER_NS) == {}


def test_failures_that_are_long_ago_are_forgotten(patient: Patient) -> None:
    patient.call(patient.vitals.system1, *[EngineError("x")] * 10)
    assert patient.causes()
    assert patient.causes(MEMORY_NS) == {}


def test_what_clients_do_wrong_is_not_the_engines_fault(patient: Patient) -> None:
    patient.call(patient.vitals.system1, *[ObservationError("no JPEG")] * 10)
    patient.call(patient.vitals.system2, *[PromptError("too long")] * 10)
    assert patient.causes() == {}
    assert patient.vitals.system2.failures == 0


def test_a_single_withheld_nan_is_a_cause_for_a_while(patient: Patient) -> None:
    patient.vitals.system1.begin(patient.now_ns)
    patient.vitals.failed_to_act(patient.now_ns, UnsafeOutputError("nan"))
    said = patient.causes(3 * NS_PER_S)["unsafe_output"]
    assert "the last one 3 s ago: check the engines" in said
    assert patient.causes(MEMORY_NS) == {}


def test_plans_that_are_too_old_for_every_active_client_are_a_cause(patient: Patient) -> None:
    patient.send(b"a", 1, planned=True)
    patient.send(b"b", 1, planned=True)
    patient.now_ns += HOLD_NS
    patient.send(b"a", 2, planned=False)
    patient.send(b"b", 2, planned=False)
    assert "2 active clients is 600 ms old, 500 ms are allowed" in patient.causes()["stale_plans"]
    patient.send(b"b", 3, planned=True)
    patient.send(b"a", 3, planned=False)
    assert patient.causes(LINGER_NS // 5) == patient.causes(0)
    patient.causes(LINGER_NS)
    assert patient.causes() == {}, "and silent clients wait for nothing"


def test_one_client_with_a_young_plan_means_that_system_2_keeps_up(patient: Patient) -> None:
    patient.send(b"a", 1, planned=True)
    patient.now_ns += HOLD_NS
    patient.send(b"b", 1, planned=False)
    patient.send(b"a", 2, planned=False)
    assert "stale_plans" in patient.causes(), "a client that waits for its first plan has none that is young"
    fresh = Patient()
    fresh.send(b"a", 1, planned=True)
    fresh.now_ns += HOLD_NS
    fresh.send(b"b", 1, planned=True)
    fresh.send(b"a", 2, planned=False)
    assert fresh.causes() == {}


def test_an_instruction_that_cannot_be_planned_does_not_make_the_plans_old(patient: Patient) -> None:
    patient.send(b"a", 1, planned=True)
    patient.send(b"a", 2, planned=False, instruction="no prompt")
    job = patient.scheduler.take_plan_job(patient.now_ns)
    assert job is not None
    patient.scheduler.fail_plan(job, for_good=True)
    assert patient.causes(HOLD_NS) == {}


def test_answers_that_are_mostly_too_old_are_a_cause_until_few_are(patient: Patient) -> None:
    vitals = patient.vitals
    for _ in range(5):
        vitals.handed_out(patient.now_ns, 1, 1)
        vitals.gone_stale(patient.now_ns)
    assert patient.causes()["stale_answers"].startswith("5 of the last 10 observations became too old")
    for _ in range(10):
        vitals.handed_out(patient.now_ns, 1, 1)
    patient.causes(LINGER_NS)
    assert "stale_answers" in patient.causes()
    for _ in range(10):
        vitals.handed_out(patient.now_ns, 1, 1)
    assert patient.causes(LINGER_NS) == {}


def test_a_part_that_says_what_is_wrong_with_it_is_heard(patient: Patient) -> None:
    said: list[str] = []
    patient.diagnosis.watch("recording_stopped", lambda: said[-1] if said else None)
    patient.diagnosis.watch("door_ended", lambda: None, vital=True)
    assert patient.causes() == {}
    said.append("the disk is full: make room")
    assert patient.causes() == {"recording_stopped": "the disk is full: make room"}
    assert patient.diagnosis.why_dead(patient.now_ns) is None
    assert {"recording_stopped", "door_ended", "unsafe_output"} <= set(patient.diagnosis.names)


def test_a_thread_that_has_ended_is_vital(patient: Patient) -> None:
    running = threading.Event()
    thread = threading.Thread(target=running.wait, name="st4vla_probe")
    thread.start()
    patient.diagnosis.watch("probe_ended", thread_check(thread), vital=True)
    assert patient.causes() == {}
    running.set()
    thread.join()
    said = "the thread st4vla_probe has ended: restart the server, and report what its log says"
    assert patient.diagnosis.why_dead(patient.now_ns) == said
    assert patient.causes() == {"probe_ended": said}


def test_whoever_asks_again_at_once_costs_nothing(patient: Patient) -> None:
    asked = []
    patient.diagnosis.watch("probe", lambda: asked.append(1))
    for _ in range(100):
        patient.causes(CACHE_NS // 1000)
    assert len(asked) == 1
