import random
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import Message, Observation, View
from st4vla.contracts.staleness import AgeBounds, Staleness
from st4vla.runtime.chunking import ChunkingConfig
from st4vla.runtime.frame import Frame
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors
from st4vla.runtime.recording.describing import describe
from st4vla.runtime.recording.journal import JournaledScheduler, Note, Submitted
from st4vla.runtime.recording.records import CALL, Call, FrameRecord
from st4vla.runtime.scheduler import Scheduler, SchedulingConfig
from st4vla.runtime.session import ActJob, PlanJob

ACTION = NullPolicy().info.action
VIEWS = (ViewSpec("agentview", 2, 2),)
PIXELS = np.zeros((2, 2, 3), np.uint8)
BOUNDS = Staleness(AgeBounds(0, 30, 0), AgeBounds(0, 300, 0))


class Notebook:
    """Keeps what it is told, at a time that a test sets."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.now_ns = 0

    def clock_ns(self) -> int:
        return self.now_ns

    def note(self, note: Note) -> None:
        self.notes.append(note)

    def delivered(self, client: bytes, message: Message) -> None:
        raise AssertionError(client, message)


def live(config: SchedulingConfig, seed: int) -> tuple[Notebook, int]:  # noqa: PLR0912
    """Call a scheduler in every way; return what it noted, and how many calls changed nothing."""
    rng, notebook, idle = random.Random(seed), Notebook(), 0
    scheduler = JournaledScheduler(config, ACTION, notebook)
    acting: list[ActJob] = []
    planning: list[PlanJob] = []
    sequences = dict.fromkeys((b"a", b"b", b"c"), 0)
    for now in range(1, 600):
        notebook.now_ns = now
        identity = rng.choice(tuple(sequences))
        what = rng.random()
        if what < 0.3:
            if scheduler.admit(identity, now):
                sequences[identity] += 1
                view = View.from_pixels("agentview", PIXELS, now - 1 - rng.randrange(20))
                observation = Observation(
                    sequences[identity],
                    (view,),
                    rng.choice(("lift", "lift", "lift", "put")),
                    deadline_ns=rng.choice((0, 0, 30)),
                    replan=rng.random() < 0.1,
                    held_chunk_id=rng.randrange(20),
                    held_received_ns=now,
                    sent_ns=now - 1,
                )
                scheduler.submit(identity, Frame(observation, now, VIEWS))
        elif what < 0.32:
            scheduler.leave(identity)
        elif what < 0.5:
            act_job = scheduler.take_act_job(now)
            idle += act_job is None
            acting += [] if act_job is None else [act_job]
        elif what < 0.65 and acting:
            job = acting.pop(rng.randrange(len(acting)))
            if rng.random() < 0.1:
                scheduler.fail_act(job)
            else:
                actions = np.full((ACTION.horizon, ACTION.dim), rng.random(), np.float32)
                scheduler.finish_act(job, Acted(actions, np.eye(4, dtype=np.float32)[:, :: rng.choice((1, -1))]), now)
        elif what < 0.75:
            plan_job = scheduler.take_plan_job(now)
            idle += plan_job is None
            planning += [] if plan_job is None else [plan_job]
        elif what < 0.9 and planning:
            made = planning.pop()
            if rng.random() < 0.2:
                scheduler.fail_plan(made, for_good=rng.random() < 0.3)
            else:
                scheduler.finish_plan(made, PlanTensors({"x": np.ones(3, np.float32)}, 1))
        else:
            idle += not scheduler.expire(now)
    scheduler.close()
    idle += scheduler.take_act_job(600) is None
    return notebook, idle


def again(config: SchedulingConfig, notes: list[Note]) -> list[Note]:
    """Make only the calls that were noted, on another scheduler."""
    notebook = Notebook()
    scheduler = JournaledScheduler(config, ACTION, notebook)
    jobs: dict[int, Any] = {}
    for note in notes:
        notebook.now_ns, given, job = note.time_ns, note.given, jobs.get(note.job)
        if isinstance(given, Submitted):
            scheduler.submit(note.client, Frame(given.observation, given.received_ns, VIEWS))
        elif note.name in {"admit", "leave"}:
            scheduler.admit(note.client, note.time_ns) if note.name == "admit" else scheduler.leave(note.client)
        elif note.job and job is None:
            continue
        elif note.name.startswith("take"):
            jobs[note.number] = getattr(scheduler, note.name)(note.time_ns)
        elif note.name == "finish_act":
            assert isinstance(given, Acted)
            scheduler.finish_act(job, given, note.time_ns)
        elif note.name == "finish_plan":
            assert isinstance(given, PlanTensors)
            scheduler.finish_plan(job, given)
        elif note.name == "fail_plan":
            scheduler.fail_plan(job, for_good=given is True)
        elif note.name == "fail_act":
            scheduler.fail_act(job)
        else:
            scheduler.expire(note.time_ns) if note.name == "expire" else scheduler.close()
    return notebook.notes


def calls(notes: list[Note]) -> list[Call]:
    return [CALL.decode(CALL.encode(describe(note))) for note in notes]


@pytest.mark.parametrize("synchronous", [False, True])
@pytest.mark.parametrize("mode", ["real_time", "ensemble", "replace"])
def test_calls_that_changed_nothing_can_be_left_out(synchronous: bool, mode: Any) -> None:
    config = SchedulingConfig(
        plan_period_ns=40,
        synchronous=synchronous,
        max_clients=2,
        idle_ns=5,
        chunking=ChunkingConfig(mode=mode),
        staleness=BOUNDS,
    )
    every = []
    for seed in range(4):
        notebook, idle = live(config, seed)
        assert idle > 50
        told = calls(notebook.notes)
        assert calls(again(config, notebook.notes)) == told
        every += told
    assert {call.name for call in every} >= {"expire", "fail_act", "fail_plan", "leave", "close"}
    assert any(call.outcome.chunk_id for call in every)
    assert any(call.name == "admit" and not call.outcome.accepted for call in every)


def test_one_call_less_of_those_that_were_noted_is_noticed() -> None:
    config = SchedulingConfig(plan_period_ns=40, staleness=BOUNDS)
    notebook, _ = live(config, 0)
    told = calls(notebook.notes)
    without = [note for note in notebook.notes if note.name != "expire"]
    renumbered = [replace(call, number=0, job=0) for call in calls(again(config, without))]
    assert renumbered != [replace(call, number=0, job=0) for call in told if call.name != "expire"]


def test_a_number_in_topics_goes_to_the_next_client_when_its_own_leaves() -> None:
    scheduler = JournaledScheduler(SchedulingConfig(max_clients=2, idle_ns=10), ACTION, Notebook())
    assert scheduler.admit(b"a", 0)
    assert scheduler.admit(b"b", 5)
    assert (scheduler.slot(b"a"), scheduler.slot(b"b"), scheduler.slot(b"c")) == (1, 2, 0)
    assert scheduler.admit(b"c", 11), "who was silent for longest is evicted"
    assert (scheduler.slot(b"a"), scheduler.slot(b"c")) == (0, 1)
    scheduler.leave(b"b")
    assert scheduler.admit(b"d", 12)
    assert scheduler.slot(b"d") == 2


def test_whatever_a_scheduler_can_be_asked_to_change_is_noted() -> None:
    public = {name for name in vars(Scheduler) if not name.startswith("_")}
    noted = {name for name in vars(JournaledScheduler) if not name.startswith("_")} - {"slot"}
    only_read = {"wait_to_act", "wait_to_plan", "wait_to_expire", "clients", "survey", "cannot_plan", "has_place"}
    assert noted == public - only_read, "a new method changes something or does not: say so here"


def test_whatever_an_observation_says_is_noted() -> None:
    kept = {field.name for field in fields(FrameRecord)}
    assert set(Observation.__struct_fields__) - {"robot_state"} <= kept
