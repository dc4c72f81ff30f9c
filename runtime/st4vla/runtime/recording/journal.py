"""The scheduler's calls, in the order in which it took them: all that a replay needs beside the policy.

Under the scheduler's lock a call leaves no more than references; whoever listens makes records of them in its own time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from st4vla.contracts.action import ActionSpec
from st4vla.contracts.messages import Message, Observation
from st4vla.runtime.frame import Frame
from st4vla.runtime.policy import Acted, PlanTensors
from st4vla.runtime.scheduler import Overdue, Scheduler, SchedulingConfig
from st4vla.runtime.session import ActJob, Handout, HeldPlan, PlanJob


@dataclass(frozen=True, slots=True)
class Submitted:
    """An observation with its views, and when it arrived."""

    observation: Observation
    received_ns: int


Given = Submitted | Acted | PlanTensors | bool | None
Answer = ActJob | PlanJob | Handout | Overdue | HeldPlan | list[Overdue] | bool | None


@dataclass(frozen=True, slots=True)
class Note:
    """One call as it was made; see `records.Call` for what its fields say.

    Attributes:
        number: 1, 2, 3 and so on.
        name: The method.
        time_ns: The time it was given, or when it was called.
        client: Whose; empty for nobody's.
        slot: The client's number in topics; 0 for none.
        job: Number of the call that took the job that this one ends; 0 for other calls.
        given: What it was given beside the client or the job.
        answer: What it returned.
    """

    number: int
    name: str
    time_ns: int
    client: bytes = b""
    slot: int = 0
    job: int = 0
    given: Given = None
    answer: Answer = None


class Recorder(Protocol):
    """Somebody who writes down what happens. No method may block or raise: the systems' threads call them."""

    def clock_ns(self) -> int:
        """Return the time, for calls that are given none."""
        ...

    def note(self, note: Note) -> None:
        """Take a call in. The scheduler's lock is held."""
        ...

    def delivered(self, client: bytes, message: Message) -> None:
        """Take in what goes out to a client."""
        ...


class JournaledScheduler(Scheduler):
    """A scheduler whose calls are written down.

    A `take_act_job` or `take_plan_job` that found nothing and an `expire` that gave nothing up have changed nothing;
    they are left out.

    Args:
        config: How frames are handed out.
        action: What the policy's actions are.
        recorder: Who listens.
    """

    def __init__(self, config: SchedulingConfig, action: ActionSpec, recorder: Recorder) -> None:
        super().__init__(config, action)
        self._recorder = recorder
        self._number = 0
        self._slots: dict[bytes, int] = {}
        #: Number of the call that took each job that is worked on, by the job's identity.
        self._taken: dict[int, int] = {}

    def slot(self, identity: bytes) -> int:
        """Return the number that a client has in topics, 1 to `max_clients`; 0 for one that has no place."""
        return self._slots.get(identity, 0)

    @override
    def admit(self, identity: bytes, now_ns: int) -> bool:
        with self._lock:
            admitted = super().admit(identity, now_ns)
            if admitted and identity not in self._slots:
                # Who was evicted has left its number.
                self._slots = {known: slot for known, slot in self._slots.items() if known in self._sessions}
                used = set(self._slots.values())
                self._slots[identity] = next(slot for slot in range(1, len(used) + 2) if slot not in used)
            self._note("admit", now_ns, identity, answer=admitted)
            return admitted

    @override
    def submit(self, identity: bytes, frame: Frame) -> None:
        with self._lock:
            # Taken before anybody decodes the views, after which the frame lets go of their bytes.
            given = Submitted(frame.observation, frame.received_ns)
            super().submit(identity, frame)
            self._note("submit", frame.received_ns, identity, given=given)

    @override
    def leave(self, identity: bytes) -> None:
        with self._lock:
            super().leave(identity)
            self._note("leave", None, identity)
            self._slots.pop(identity, None)

    @override
    def take_act_job(self, now_ns: int) -> ActJob | None:
        with self._lock:
            job = super().take_act_job(now_ns)
            if job is not None:
                self._taken[id(job)] = self._number + 1
                self._note("take_act_job", now_ns, job.identity, answer=job)
            return job

    @override
    def finish_act(self, job: ActJob, acted: Acted, now_ns: int) -> Handout | Overdue | None:
        with self._lock:
            handout = super().finish_act(job, acted, now_ns)
            self._note("finish_act", now_ns, job.identity, job=job, given=acted, answer=handout)
            return handout

    @override
    def fail_act(self, job: ActJob) -> bool:
        with self._lock:
            failed = super().fail_act(job)
            self._note("fail_act", None, job.identity, job=job, answer=failed)
            return failed

    @override
    def take_plan_job(self, now_ns: int) -> PlanJob | None:
        with self._lock:
            job = super().take_plan_job(now_ns)
            if job is not None:
                self._taken[id(job)] = self._number + 1
                self._note("take_plan_job", now_ns, job.identity, answer=job)
            return job

    @override
    def finish_plan(self, job: PlanJob, tensors: PlanTensors) -> HeldPlan:
        with self._lock:
            plan = super().finish_plan(job, tensors)
            self._note("finish_plan", None, job.identity, job=job, given=tensors, answer=plan)
            return plan

    @override
    def fail_plan(self, job: PlanJob, *, for_good: bool) -> None:
        with self._lock:
            super().fail_plan(job, for_good=for_good)
            self._note("fail_plan", None, job.identity, job=job, given=for_good)

    @override
    def expire(self, now_ns: int) -> list[Overdue]:
        with self._lock:
            overdue = super().expire(now_ns)
            if overdue:
                self._note("expire", now_ns, answer=overdue)
            return overdue

    @override
    def close(self) -> None:
        with self._lock:
            super().close()
            self._note("close", None)

    def _note(
        self,
        name: str,
        time_ns: int | None,
        client: bytes = b"",
        *,
        job: ActJob | PlanJob | None = None,
        given: Given = None,
        answer: Answer = None,
    ) -> None:
        self._number += 1
        at_ns = self._recorder.clock_ns() if time_ns is None else time_ns
        taken = 0 if job is None else self._taken.pop(id(job), 0)
        self._recorder.note(Note(self._number, name, at_ns, client, self.slot(client), taken, given, answer))
