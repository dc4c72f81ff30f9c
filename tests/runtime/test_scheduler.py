from typing import Any

import numpy as np
from msgspec.structs import replace

from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import ErrorCode, Observation, PlanReason, View
from st4vla.contracts.staleness import AgeBounds, Pace, Staleness
from st4vla.runtime.chunking import ChunkingConfig
from st4vla.runtime.frame import Frame
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors
from st4vla.runtime.scheduler import Overdue, Scheduler, SchedulingConfig
from st4vla.runtime.session import ActJob, Handout

PIXELS = np.zeros((2, 2, 3), np.uint8)
ACTION = NullPolicy().info.action
PLAN = PlanTensors({}, 1)
PERIOD = ACTION.period_ns


def frame(sequence: int, instruction: str = "lift", *, at_ns: int | None = None, **fields: Any) -> Frame:
    """A frame that was captured, sent and received at one instant of one clock."""
    at_ns = sequence if at_ns is None else at_ns
    view = View.from_pixels("agentview", PIXELS, capture_ns=at_ns)
    observation = Observation(sequence, (view,), instruction, sent_ns=at_ns, **fields)
    return Frame(observation, at_ns, (ViewSpec("agentview", 2, 2),))


def scheduler_with(*identities: bytes, **config: Any) -> Scheduler:
    scheduler = Scheduler(SchedulingConfig(**({"plan_period_ns": 100} | config)), ACTION)
    for identity in identities:
        assert scheduler.admit(identity, now_ns=0)
    return scheduler


def planned(scheduler: Scheduler, now_ns: int = 0) -> PlanReason:
    job = scheduler.take_plan_job(now_ns)
    assert job is not None
    scheduler.finish_plan(job, PLAN)
    return job.reason


def taken(scheduler: Scheduler, now_ns: int = 0) -> ActJob:
    job = scheduler.take_act_job(now_ns)
    assert job is not None
    return job


def acted(value: float = 0.0, cells: np.ndarray | None = None) -> Acted:
    return Acted(np.full((ACTION.horizon, ACTION.dim), value, np.float32), cells)


def test_no_frame_is_acted_on_before_its_instruction_is_planned() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1))
    assert scheduler.take_act_job(0) is None
    assert planned(scheduler) is PlanReason.FIRST
    scheduler.finish_act(taken(scheduler), acted(), 1)
    scheduler.submit(b"a", frame(2, "stop"))
    assert scheduler.take_act_job(0) is None, "the old instruction's plan must not drive the arm"
    assert planned(scheduler, 1) is PlanReason.INSTRUCTION


def test_the_newest_frame_wins_and_the_lost_ones_are_counted() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1))
    planned(scheduler)
    for sequence in range(2, 6):
        scheduler.submit(b"a", frame(sequence))
    job = taken(scheduler)
    assert (job.frame.observation.sequence, job.superseded) == (5, 4)
    assert scheduler.take_act_job(0) is None, "a frame is acted on once"


def test_plans_are_made_again_on_period_and_on_request() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1))
    planned(scheduler)
    scheduler.submit(b"a", frame(2))
    assert scheduler.take_plan_job(50) is None
    assert planned(scheduler, 100) is PlanReason.PERIOD
    scheduler.submit(b"a", frame(3, replan=True))
    scheduler.submit(b"a", frame(4))
    job = scheduler.take_plan_job(101)
    assert job is not None
    assert (job.reason, job.frame.observation.sequence) == (PlanReason.REQUEST, 4)


def test_a_changed_scene_is_planned_again_before_its_period_is_over() -> None:
    scheduler = scheduler_with(b"a", plan_period_ns=10**12)
    scene = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    scheduler.submit(b"a", frame(1))
    planned(scheduler)
    for sequence in range(1, 104):
        if sequence == 101:
            scene = scene.copy()
            scene[40:42] = -scene[40:42]
        assert scheduler.take_plan_job(sequence) is None
        scheduler.finish_act(taken(scheduler), acted(cells=scene), sequence)
        scheduler.submit(b"a", frame(sequence + 1))
    assert planned(scheduler, 104) is PlanReason.CHANGE
    assert scheduler.counts["plans_change"] == scheduler.counts["changes"] == 1


def test_a_change_that_the_plan_in_the_making_shows_is_not_planned_again() -> None:
    scheduler = scheduler_with(b"a", plan_period_ns=10**12)
    scene = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    scheduler.submit(b"a", frame(1))
    planned(scheduler)
    for sequence in range(1, 120):
        if sequence == 101:
            scene = scene.copy()
            scene[40:42] = -scene[40:42]
        scheduler.finish_act(taken(scheduler), acted(cells=scene), sequence)
        scheduler.submit(b"a", frame(sequence + 1, replan=sequence == 100))
        if sequence == 100:
            assert planned(scheduler, sequence) is PlanReason.REQUEST
    assert scheduler.counts["changes"] == 0


def test_clients_are_served_in_turn_however_fast_they_send() -> None:
    scheduler = scheduler_with(b"a", b"b")
    for identity in (b"a", b"b"):
        scheduler.submit(identity, frame(1))
    planned(scheduler, 1)
    planned(scheduler, 2)
    served = []
    for now in range(10, 18):
        for sequence in range(3):
            scheduler.submit(b"a", frame(10 * now + sequence))
        scheduler.submit(b"b", frame(now))
        job = taken(scheduler, now)
        scheduler.finish_act(job, acted(), now)
        served.append(job.identity)
    assert served.count(b"a") == served.count(b"b") == 4


def test_a_silent_client_gives_its_place_to_one_that_needs_it() -> None:
    scheduler = Scheduler(SchedulingConfig(plan_period_ns=1, max_clients=2, idle_ns=1000), ACTION)
    assert scheduler.admit(b"a", 0)
    assert scheduler.admit(b"b", 500)
    assert not scheduler.admit(b"c", 999)
    assert scheduler.admit(b"c", 1000)
    assert scheduler.clients == 2


def test_an_instruction_that_cannot_be_planned_is_not_tried_again() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1, "<|bad|>"))
    job = scheduler.take_plan_job(0)
    assert job is not None
    scheduler.fail_plan(job, for_good=True)
    scheduler.submit(b"a", frame(2, "<|bad|>"))
    assert scheduler.take_plan_job(1) is None
    scheduler.submit(b"a", frame(3, "lift"))
    assert scheduler.take_plan_job(2) is not None


def test_a_plan_that_failed_by_chance_is_tried_again_on_the_next_frame() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1))
    job = scheduler.take_plan_job(0)
    assert job is not None
    scheduler.fail_plan(job, for_good=False)
    assert scheduler.take_plan_job(1) is None
    scheduler.submit(b"a", frame(2))
    assert planned(scheduler, 2) is PlanReason.FIRST


def test_work_for_a_client_that_left_is_forgotten() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1))
    planned(scheduler)
    act = taken(scheduler)
    scheduler.submit(b"a", frame(2, replan=True))
    job = scheduler.take_plan_job(0)
    assert job is not None
    scheduler.leave(b"a")
    scheduler.finish_plan(job, PLAN)
    assert scheduler.finish_act(act, acted(), 5) is None
    assert not scheduler.fail_act(act)
    assert scheduler.clients == 0


def test_synchronously_each_frame_is_planned_and_then_acted_on() -> None:
    scheduler = scheduler_with(b"a", synchronous=True)
    scheduler.submit(b"a", frame(1))
    planned(scheduler, 1)
    scheduler.submit(b"a", frame(2))
    assert scheduler.take_plan_job(2) is None, "the plan that was made is acted by first"
    job = taken(scheduler, 2)
    assert job.frame.observation.sequence == job.plan.frame.observation.sequence == 1
    assert scheduler.take_plan_job(2) is None
    scheduler.finish_act(job, acted(), 3)
    assert scheduler.take_act_job(3) is None
    assert planned(scheduler, 3) is PlanReason.PERIOD
    assert taken(scheduler, 4).frame.observation.sequence == 2


def test_a_deadline_is_kept_while_the_frame_waits_and_while_an_engine_hangs() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1, at_ns=1000, deadline_ns=50))
    assert scheduler.expire(1049) == []
    (overdue,) = scheduler.expire(1050)
    assert (overdue.sequence, overdue.code) == (1, ErrorCode.DEADLINE)
    assert scheduler.expire(2000) == [], "it is answered once"
    planned(scheduler)
    assert scheduler.take_act_job(1051) is None
    scheduler.submit(b"a", frame(2, at_ns=2000, deadline_ns=50))
    job = taken(scheduler, 2010)
    (overdue,) = scheduler.expire(2060)
    assert overdue.sequence == 2
    assert scheduler.finish_act(job, acted(), 9000) is None, "a late answer is no action"
    assert scheduler.counts["chunks_discarded"] == 1


def test_a_deadline_that_passes_within_the_engine_is_an_error_not_an_action() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1, at_ns=1000, deadline_ns=5_000_000))
    planned(scheduler)
    late = scheduler.finish_act(taken(scheduler), acted(), 7_001_000)
    assert isinstance(late, Overdue)
    assert late.text == "no chunk within the deadline of 5.0 ms; the frame is 7.0 ms old"


def test_ages_slow_down_and_hold_where_actions_are_handed_out() -> None:
    ms = 1_000_000
    bounds = Staleness(AgeBounds(100 * ms, 200 * ms, 0), AgeBounds(0, 1000 * ms, 2000 * ms))
    scheduler = scheduler_with(b"a", staleness=bounds)
    scheduler.submit(b"a", frame(1, at_ns=0))
    planned(scheduler)
    outcome = scheduler.finish_act(taken(scheduler), acted(), 50 * ms)
    assert isinstance(outcome, Handout)
    assert (outcome.pace, outcome.frame_age_ns, outcome.plan_age_ns) == (Pace.RUN, 50 * ms, 50 * ms)
    scheduler.submit(b"a", frame(2, at_ns=100 * ms))
    outcome = scheduler.finish_act(taken(scheduler), acted(), 200 * ms)
    assert isinstance(outcome, Handout)
    assert outcome.pace is Pace.SLOW
    scheduler.submit(b"a", frame(3, at_ns=300 * ms))
    (overdue,) = scheduler.expire(500 * ms)
    assert overdue.code is ErrorCode.STALE
    scheduler.submit(b"a", frame(4, at_ns=1100 * ms))
    old = scheduler.finish_act(taken(scheduler, 1100 * ms), acted(), 1110 * ms)
    assert isinstance(old, Overdue)
    assert old.text == "the plan is 1110 ms old, too old to act by; hold until a newer chunk comes"


def test_the_way_a_frame_took_counts_in_its_age_once_the_clients_clock_is_known() -> None:
    scheduler = scheduler_with(b"a", staleness=Staleness(AgeBounds(0, 100, 0)))
    offset = 1_000_000_000

    def received(observation: Observation, at_ns: int) -> Frame:
        return Frame(observation, at_ns, (ViewSpec("agentview", 2, 2),))

    base = frame(1, at_ns=offset).observation
    scheduler.submit(b"a", received(base, 10))
    planned(scheduler)
    first = scheduler.finish_act(taken(scheduler), acted(), 20)
    assert isinstance(first, Handout)
    assert first.frame_age_ns == 10, "its way here is not known yet"
    # The client says that the chunk arrived ten nanoseconds after it was sent: both ways take ten.
    second = replace(
        frame(2, at_ns=offset + 100).observation, held_chunk_id=first.chunk_id, held_received_ns=offset + 30
    )
    scheduler.submit(b"a", received(second, 199))
    (overdue,) = scheduler.expire(200)
    assert overdue.sequence == 2, "it was on its way for 99 ns of the 100 it has"


def test_chunks_follow_the_grid_and_hold_to_what_will_have_been_executed() -> None:
    scheduler = scheduler_with(b"a", chunking=ChunkingConfig(delay_margin=0.0))
    scheduler.submit(b"a", frame(1, at_ns=0))
    planned(scheduler)
    first = taken(scheduler)
    assert first.splice.prefix is None
    scheduler.finish_act(first, acted(1.0), PERIOD // 2)
    scheduler.submit(b"a", frame(2, at_ns=2 * PERIOD + 3))
    job = taken(scheduler)
    assert job.splice.start_ns == 2 * PERIOD
    assert job.splice.prefix is not None
    assert job.splice.weights is not None
    # Delay: one period before anything has been measured.
    assert job.splice.frozen_steps == 2
    assert job.splice.weights[:2].tolist() == [1.0, 1.0]
    assert (np.diff(job.splice.weights[1:]) <= 0).all()
    assert not job.splice.weights[ACTION.horizon - 2 :].any(), "the older chunk says nothing of its last two"


def test_another_instruction_is_held_to_the_old_one_only_where_it_will_have_been_executed() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1, at_ns=0))
    planned(scheduler)
    scheduler.finish_act(taken(scheduler), acted(1.0), 1)
    scheduler.submit(b"a", frame(2, "put it down", at_ns=PERIOD))
    planned(scheduler)
    splice = taken(scheduler).splice
    assert splice.weights is not None
    assert set(splice.weights.tolist()) == {0.0, 1.0}
    assert splice.weights.sum() == splice.frozen_steps


def test_a_fresh_frame_holds_to_nothing_and_begins_at_its_capture() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1, at_ns=0))
    planned(scheduler)
    scheduler.finish_act(taken(scheduler), acted(1.0), 1)
    scheduler.submit(b"a", frame(2, at_ns=PERIOD + 7, fresh=True))
    splice = taken(scheduler).splice
    assert (splice.prefix, splice.frozen_steps, splice.start_ns) == (None, 0, PERIOD + 7)


def test_a_cold_start_does_not_make_later_chunks_hold_longer() -> None:
    scheduler = scheduler_with(b"a", chunking=ChunkingConfig(delay_margin=0.0), plan_period_ns=10**15)
    scheduler.submit(b"a", frame(1, at_ns=0))
    planned(scheduler)
    scheduler.finish_act(taken(scheduler), acted(), 40 * PERIOD)
    for sequence in range(2, 6):
        at_ns = (100 + sequence) * PERIOD
        scheduler.submit(b"a", frame(sequence, at_ns=at_ns))
        scheduler.finish_act(taken(scheduler, at_ns), acted(), at_ns + PERIOD // 4)
    scheduler.submit(b"a", frame(9, at_ns=106 * PERIOD))
    assert taken(scheduler).splice.frozen_steps == 1


def test_nothing_grows_while_a_client_streams() -> None:
    scheduler = scheduler_with(b"a")
    for sequence in range(1, 200):
        scheduler.submit(b"a", frame(sequence, at_ns=sequence * PERIOD))
        if scheduler.take_plan_job(sequence * PERIOD) is not None:
            scheduler._sessions[b"a"].planning = None
        job = scheduler.take_act_job(sequence * PERIOD)
        if job is not None:
            scheduler.finish_act(job, acted(), sequence * PERIOD + 1)
        elif sequence == 1:
            scheduler.submit(b"a", frame(0, replan=True))
            planned(scheduler, 0)
    session = scheduler._sessions[b"a"]
    assert scheduler.counts["chunks"] > 150
    assert len(session._sent) <= 8
    assert len(session._order) <= 8
    assert len(session.timeline._sent) == 1
