"""An engine that throws, hangs or returns what is not a number, and a clock that steps."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from msgspec.structs import replace

from st4vla.contracts.clock import NS_PER_MS, monotonic_ns
from st4vla.contracts.errors import EngineError
from st4vla.contracts.messages import ActionChunk, ErrorReply, Health, Message, Observation, View
from st4vla.contracts.staleness import AgeBounds, Staleness
from st4vla.runtime import diagnosis
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.core import Core
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Views
from st4vla.runtime.scheduler import SchedulingConfig

SIZE, PERIOD_S, HOLD_MS = 28, 0.02, 200


class Faulty(NullPolicy):
    """Does what it is told to until it is told to be well again."""

    act_fault = plan_fault = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.healed = threading.Event()

    def plan(self, views: Views, instruction: str) -> PlanTensors:
        self.suffer(self.plan_fault)
        return super().plan(views, instruction)

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        acted = super().act(views, plan, seed, splice)
        self.suffer(self.act_fault)
        if self.act_fault == "nan":
            acted.actions[0, 0] = np.nan
        return acted

    def suffer(self, fault: str) -> None:
        if fault == "throws":
            raise EngineError("the engine has failed")
        if fault == "hangs":
            self.healed.wait(10)


class Robot:
    """Sends a frame each period to a core, and keeps what comes back with its time."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.chunks: list[tuple[int, ActionChunk]] = []
        self.errors: list[tuple[int, ErrorReply]] = []
        self.sequence = 0
        self.clock_step_ns = 0

    def deliver(self, message: Message) -> None:
        now_ns = monotonic_ns()
        if isinstance(message, ActionChunk):
            self.chunks.append((now_ns, message))
        elif isinstance(message, ErrorReply):
            self.errors.append((now_ns, message))

    def stream(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.sequence += 1
            now_ns = monotonic_ns() + self.clock_step_ns
            pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
            views = tuple(View.from_pixels(name, pixels, now_ns) for name in ("agentview", "wrist"))
            observation = Observation(self.sequence, views, "lift", sent_ns=now_ns)
            if self.chunks:
                at_ns, chunk = self.chunks[-1]
                observation = replace(
                    observation, held_chunk_id=chunk.chunk_id, held_received_ns=at_ns + self.clock_step_ns
                )
            refusal = self.core.submit(b"robot", observation, monotonic_ns(), self.deliver)
            if refusal is not None:
                self.deliver(refusal)
            time.sleep(PERIOD_S)

    def codes(self, since_ns: int) -> Counter[str]:
        return Counter(error.code.name for at, error in self.errors if at > since_ns)

    def back_after_s(self, since_ns: int) -> float:
        return (next(at for at, _ in self.chunks if at > since_ns) - since_ns) / 1e9


@contextmanager
def running(policy: Faulty, **config: object) -> Iterator[Robot]:
    staleness = Staleness(AgeBounds(0, HOLD_MS * NS_PER_MS, 0), AgeBounds(0, 1000 * NS_PER_MS, 0))
    core = Core(policy, SchedulingConfig(staleness=staleness, plan_period_ns=50 * NS_PER_MS, **config))  # type: ignore[arg-type]
    core.start()
    try:
        yield Robot(core)
    finally:
        policy.healed.set()
        core.stop()


@pytest.mark.parametrize(
    ("fault", "code", "metric"),
    [("throws", "ENGINE", "refused_engine"), ("nan", "UNSAFE_OUTPUT", "refused_unsafe_output")],
)
def test_system_1_that_fails_costs_chunks_and_nothing_else(fault: str, code: str, metric: str) -> None:
    policy = Faulty(image_size=SIZE)
    with running(policy) as robot:
        robot.stream(0.3)
        policy.act_fault, began_ns = fault, monotonic_ns()
        robot.stream(0.4)
        policy.act_fault, ended_ns = "", monotonic_ns()
        robot.stream(0.3)
        assert robot.codes(began_ns)[code] > 10
        assert robot.core.counts[metric] > 10
        assert not [at for at, _ in robot.chunks if began_ns + 20 * NS_PER_MS < at < ended_ns]
        assert robot.back_after_s(ended_ns) < 1.0


def test_system_1_that_hangs_is_answered_for_and_its_late_chunk_never_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "HANG_NS", 300 * NS_PER_MS)
    policy = Faulty(image_size=SIZE)
    with running(policy) as robot:
        robot.stream(0.3)
        assert robot.core.health is Health.READY
        policy.act_fault, began_ns = "hangs", monotonic_ns()
        robot.stream(0.8)
        assert robot.core.health is Health.DEGRADED
        assert robot.codes(began_ns)["STALE"] > 0
        assert robot.core.counts["chunks_stale"] > 0
        policy.act_fault = ""
        policy.healed.set()
        ended_ns = monotonic_ns()
        robot.stream(0.4)
        assert robot.core.counts["chunks_discarded"] == 1
        assert robot.back_after_s(ended_ns) < 1.0
        ages_ms = [(at - chunk.frame_capture_ns) / NS_PER_MS for at, chunk in robot.chunks]
        assert max(ages_ms) < HOLD_MS
        assert robot.core.health is Health.READY


def test_system_2_that_hangs_does_not_stop_system_1_until_its_plan_is_too_old() -> None:
    policy = Faulty(image_size=SIZE)
    with running(policy) as robot:
        robot.stream(0.3)
        policy.plan_fault, began_ns = "hangs", monotonic_ns()
        robot.stream(0.7)
        meanwhile = [at for at, _ in robot.chunks if at > began_ns + 100 * NS_PER_MS]
        assert len(meanwhile) > 15, "System 1 acts by the plan that it has"
        robot.stream(0.6)
        assert robot.codes(began_ns)["STALE"] > 5, "until that is too old"
        assert max(chunk.plan_age_ns for _, chunk in robot.chunks) < 1000 * NS_PER_MS
        policy.plan_fault = ""
        policy.healed.set()
        ended_ns = monotonic_ns()
        robot.stream(0.4)
        assert robot.back_after_s(ended_ns) < 1.0


def test_system_2_that_throws_is_tried_again_on_the_next_frame() -> None:
    policy = Faulty(image_size=SIZE)
    policy.plan_fault = "throws"
    with running(policy) as robot:
        robot.stream(0.3)
        assert robot.core.counts["refused_engine"] > 3
        assert not robot.chunks
        policy.plan_fault, ended_ns = "", monotonic_ns()
        robot.stream(0.3)
        assert robot.back_after_s(ended_ns) < 1.0


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_a_clients_clock_that_steps_is_learnt_anew(step_s: float) -> None:
    with running(Faulty(image_size=SIZE)) as robot:
        robot.stream(0.5)
        robot.clock_step_ns, stepped_ns = round(step_s * 1e9), monotonic_ns()
        robot.stream(1.0)
        assert robot.back_after_s(stepped_ns) < 1.0
        late = [chunk for at, chunk in robot.chunks if at > stepped_ns + 500 * NS_PER_MS]
        assert len(late) > 15
        assert max(chunk.frame_age_ns for chunk in late) < HOLD_MS * NS_PER_MS
        assert min(chunk.frame_age_ns for chunk in late) > 0
        session = robot.core.scheduler._sessions[b"robot"]
        assert session.clock.estimate is not None
        assert abs(session.clock.estimate.offset_ns + robot.clock_step_ns) < 50 * NS_PER_MS


def test_a_frame_from_the_future_is_refused() -> None:
    with running(Faulty(image_size=SIZE)) as robot:
        pixels, now_ns = np.zeros((SIZE, SIZE, 3), np.uint8), monotonic_ns()
        views = tuple(View.from_pixels(name, pixels, now_ns + 5) for name in ("agentview", "wrist"))
        refusal = robot.core.submit(b"robot", Observation(1, views, "lift", sent_ns=now_ns), now_ns, robot.deliver)
        assert refusal is not None
        assert "captured 5 ns after it was sent" in refusal.message
