import numpy as np

from st4vla.contracts.messages import Observation, PlanReason, View
from st4vla.runtime.policy import PlanTensors
from st4vla.runtime.scheduler import Frame, HeldPlan, PlanJob, Scheduler

PIXELS = np.zeros((1, 2, 2, 3), np.uint8)


def frame(sequence: int, instruction: str = "lift", *, replan: bool = False) -> Frame:
    view = View.from_pixels("agentview", PIXELS[0], capture_ns=sequence)
    return Frame(Observation(sequence, (view,), instruction, replan=replan), PIXELS, received_ns=sequence)


def plan(job: PlanJob, plan_id: int = 1) -> HeldPlan:
    return HeldPlan(plan_id, PlanTensors({}, 1), job.frame, started_ns=0)


def scheduler_with(*identities: bytes, period_ns: int = 100) -> Scheduler:
    scheduler = Scheduler(plan_period_ns=period_ns)
    for identity in identities:
        assert scheduler.admit(identity, now_ns=0)
    return scheduler


def test_no_frame_is_acted_on_before_its_instruction_is_planned() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1))
    assert scheduler.take_act_job(0, 0) is None
    job = scheduler.take_plan_job(0)
    assert job is not None
    assert job.reason is PlanReason.FIRST
    scheduler.finish_plan(b"a", plan(job))
    assert scheduler.take_act_job(0, 0) is not None
    scheduler.submit(b"a", frame(2, "stop"))
    assert scheduler.take_act_job(0, 0) is None, "the old instruction's plan must not drive the arm"
    again = scheduler.take_plan_job(1)
    assert again is not None
    assert again.reason is PlanReason.INSTRUCTION


def test_the_newest_frame_wins_and_the_lost_ones_are_counted() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1))
    job = scheduler.take_plan_job(0)
    assert job is not None
    scheduler.finish_plan(b"a", plan(job))
    for sequence in range(2, 6):
        scheduler.submit(b"a", frame(sequence))
    act = scheduler.take_act_job(0, 0)
    assert act is not None
    assert (act.frame.observation.sequence, act.superseded) == (5, 4)
    assert scheduler.take_act_job(0, 0) is None, "a frame is acted on once"


def test_plans_are_made_again_on_period_and_on_request() -> None:
    scheduler = scheduler_with(b"a", period_ns=100)
    scheduler.submit(b"a", frame(1))
    job = scheduler.take_plan_job(0)
    assert job is not None
    scheduler.finish_plan(b"a", plan(job))
    scheduler.submit(b"a", frame(2))
    assert scheduler.take_plan_job(50) is None
    period = scheduler.take_plan_job(100)
    assert period is not None
    assert period.reason is PlanReason.PERIOD
    scheduler.finish_plan(b"a", plan(period))
    scheduler.submit(b"a", frame(3, replan=True))
    scheduler.submit(b"a", frame(4))
    request = scheduler.take_plan_job(101)
    assert request is not None
    assert (request.reason, request.frame.observation.sequence) == (PlanReason.REQUEST, 4)


def test_clients_are_served_in_turn() -> None:
    scheduler = scheduler_with(b"a", b"b")
    for identity in (b"a", b"b"):
        scheduler.submit(identity, frame(1))
    for now in (1, 2):
        job = scheduler.take_plan_job(now)
        assert job is not None
        scheduler.finish_plan(job.identity, plan(job))
    served = []
    for now in range(10, 18):
        for identity in (b"a", b"b"):
            scheduler.submit(identity, frame(now))
        act = scheduler.take_act_job(now, 0)
        assert act is not None
        served.append(act.identity)
    assert served.count(b"a") == served.count(b"b") == 4


def test_a_silent_client_gives_its_place_to_one_that_needs_it() -> None:
    scheduler = Scheduler(plan_period_ns=1, max_clients=2, idle_ns=1000)
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
    scheduler.fail_plan(b"a", job.frame)
    scheduler.submit(b"a", frame(2, "<|bad|>"))
    assert scheduler.take_plan_job(1) is None
    scheduler.submit(b"a", frame(3, "lift"))
    assert scheduler.take_plan_job(2) is not None


def test_work_for_a_client_that_left_is_forgotten() -> None:
    scheduler = scheduler_with(b"a")
    scheduler.submit(b"a", frame(1))
    job = scheduler.take_plan_job(0)
    assert job is not None
    scheduler.leave(b"a")
    scheduler.finish_plan(b"a", plan(job))
    assert scheduler.clients == 0
