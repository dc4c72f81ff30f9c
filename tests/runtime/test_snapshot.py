import time
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from st4vla.contracts.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from st4vla.contracts.messages import ActionChunk, Message, Observation, View
from st4vla.contracts.staleness import AgeBounds, Staleness
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.core import Core
from st4vla.runtime.diagnosis import CACHE_NS
from st4vla.runtime.doors.opening import open_doors
from st4vla.runtime.observer import Observer
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Views
from st4vla.runtime.scheduler import SchedulingConfig
from st4vla.runtime.snapshot import INSTRUCTION_CHARACTERS, Snapshot, take_snapshot

SIZE = 8
PIXELS = np.zeros((SIZE, SIZE, 3), np.uint8)


class Moody(NullPolicy):
    """Returns NaN for one seed and throws at another."""

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        acted = super().act(views, plan, seed, splice)
        if seed == 13:
            acted.actions[0, 0] = np.nan
        if seed == 14:
            raise ZeroDivisionError
        return acted


class Robot:
    """A client inside the process, which waits for each answer."""

    def __init__(self, core: Core, name: bytes) -> None:
        self._core, self._name, self._sequence = core, name, 0
        self.answers: list[Message] = []

    def ask(self, instruction: str = "lift", seed: int = 0, deadline_ns: int = 0) -> Message:
        self._sequence += 1
        now_ns, before = monotonic_ns(), len(self.answers)
        views = tuple(View.from_pixels(name, PIXELS, now_ns) for name in ("agentview", "wrist"))
        last = next((answer for answer in reversed(self.answers) if isinstance(answer, ActionChunk)), None)
        held = (0, 0) if last is None else (last.chunk_id, now_ns)
        observation = Observation(self._sequence, views, instruction, seed, deadline_ns, *held, sent_ns=now_ns)
        assert self._core.submit(self._name, observation, monotonic_ns(), self.answers.append) is None
        deadline = time.monotonic() + 5
        while len(self.answers) == before and time.monotonic() < deadline:
            time.sleep(0.001)
        return self.answers[-1]


@pytest.fixture
def core() -> Iterator[Core]:
    bounds = AgeBounds(0, 200 * NS_PER_MS, NS_PER_S)
    running = Core(Moody(image_size=SIZE), SchedulingConfig(staleness=Staleness(bounds, bounds)))
    running.start()
    yield running
    running.stop()


def test_a_snapshot_tells_what_the_systems_did_and_what_each_client_has(core: Core) -> None:
    robot = Robot(core, b"zmq:one")
    for _ in range(5):
        chunk = robot.ask("lift\x1b[2J " + "x" * 200)
        assert isinstance(chunk, ActionChunk)
    found = take_snapshot(core, monotonic_ns())
    assert (found.bundle_name, found.health, found.ready, found.causes) == ("null", "ready", True, ())
    assert found.system1.calls.count == found.frame_age.count == found.counts["chunks"] == 5
    assert found.system2.calls.count == found.counts["plans"] >= 1
    assert found.plan_age.max_ms is not None
    assert found.frame_age.max_ms is not None
    assert found.plan_age.max_ms >= found.frame_age.max_ms > 0
    (client,) = found.clients
    assert client.name.startswith("zmq:")
    assert client.instruction.startswith("lift?[2J xxx")
    assert len(client.instruction) == INSTRUCTION_CHARACTERS
    assert (client.chunk_id, client.pace) == (chunk.chunk_id, "RUN")
    assert client.frame_age_ms == pytest.approx(chunk.frame_age_ns / NS_PER_MS, abs=0.001)
    assert client.plan_age_ms == pytest.approx(chunk.plan_age_ns / NS_PER_MS, abs=0.001)
    assert client.clock_offset_ms is not None
    assert client.clock_bound_ms is not None
    assert abs(client.clock_offset_ms) <= client.clock_bound_ms, "both clocks are one"
    assert client.last_seen_s < 5


def test_a_client_that_gets_nothing_more_is_seen_to_hold_and_then_to_stop(core: Core) -> None:
    Robot(core, b"a").ask()
    now_ns = monotonic_ns()
    later = [take_snapshot(core, now_ns + after_ns).clients[0].pace for after_ns in (0, NS_PER_S // 2, 2 * NS_PER_S)]
    assert later == ["RUN", "HOLD", "STOP"]


def test_losses_are_told_by_their_cause(core: Core) -> None:
    robot = Robot(core, b"a")
    robot.ask()
    robot.ask(seed=13)
    robot.ask(seed=14)
    robot.ask(deadline_ns=1)
    found = take_snapshot(core, monotonic_ns())
    assert found.drops.refused == {"unsafe_output": 1, "internal": 1, "deadline": 1}
    assert found.drops.late == 1
    assert found.system1.failures == 2
    assert [cause.name for cause in found.causes] == ["unsafe_output"]
    assert found.health == "degraded"
    assert found.ready


def test_a_snapshot_survives_json_and_a_newer_server_that_says_more(core: Core) -> None:
    Robot(core, b"a").ask()
    found = take_snapshot(core, monotonic_ns())
    told = msgspec.json.encode(found)
    assert msgspec.json.decode(told, type=Snapshot) == found
    assert msgspec.json.decode(b'{"weather":"fine",' + told[1:], type=Snapshot) == found


def test_an_observer_tells_the_phases_of_a_server(core: Core) -> None:
    observer = Observer("null", "00")
    assert observer.why_dead() is None
    assert observer.why_not_ready() == observer.snapshot().causes[0].text
    assert (observer.snapshot().health, observer.snapshot().ready) == ("starting", False)
    observer.serving(core)
    assert observer.why_not_ready() is None
    assert (observer.snapshot().health, observer.snapshot().ready) == ("ready", True)
    observer.stopping()
    core.stop()
    assert observer.why_dead() is None, "a thread that has ended is no fault of a server that stops"
    assert "a running call is waited for" in (observer.why_not_ready() or "")
    assert (observer.snapshot().health, observer.snapshot().ready) == ("stopping", False)


def test_doors_are_watched_and_what_they_count_is_told(core: Core) -> None:
    observer = Observer("null", "00")
    with open_doors(core, ["gr00t=tcp://127.0.0.1:*"]) as doors:
        observer.serving(core, doors)
        doors[0].counts["messages"] += 3
        found = observer.snapshot()
        assert (found.counts["door_gr00t_messages"], found.health) == (3, "ready")
        assert "gr00t_door_ended" in found.cause_names
    time.sleep(CACHE_NS / NS_PER_S)
    (cause,) = observer.snapshot().causes
    assert cause.name == "gr00t_door_ended"
    assert cause.text.endswith("has ended, and its clients get nothing: restart the server")
    assert observer.why_dead() is None, "clients of other doors are served"
