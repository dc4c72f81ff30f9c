"""Which client's frame each system works on next, and what becomes of what it made.

Pure bookkeeping under one lock: no sockets, no engines, and time comes in as an argument, so the same calls with the
same times have the same outcome, live and in a replay. Nothing in it can grow: one frame and one plan a client, a few
receipts, and a bounded number of clients.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from st4vla.contracts.action import ActionSpec
from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.contracts.messages import ErrorCode, PlanReason
from st4vla.contracts.staleness import Pace, Staleness
from st4vla.runtime.change import ChangeConfig, ChangeDetector
from st4vla.runtime.chunking import ChunkingConfig, Timeline
from st4vla.runtime.delay import DelayEstimator
from st4vla.runtime.frame import Frame
from st4vla.runtime.policy import Acted, PlanTensors
from st4vla.runtime.session import ActJob, Handout, HeldPlan, PlanJob, Sent, Session

T = TypeVar("T")


class SchedulingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How both systems are scheduled.

    Attributes:
        plan_period_ns: Shortest time between the beginnings of two plans for the same instruction and scene.
        synchronous: Plan on each frame and act on that same frame, as the reference does: a baseline to measure with.
        max_clients: How many clients are kept; a further one is refused.
        idle_ns: A client that was silent for longer loses its place when another one needs it.
        chunking: How chunks follow one another.
        change: When a changed scene is planned again before its period is over.
        staleness: How old frames and plans may be.
    """

    plan_period_ns: int = 200 * NS_PER_MS
    synchronous: bool = False
    max_clients: int = 8
    idle_ns: int = 10_000 * NS_PER_MS
    chunking: ChunkingConfig = ChunkingConfig()
    change: ChangeConfig = ChangeConfig()
    staleness: Staleness = Staleness()


@dataclass(frozen=True)
class Overdue:
    """An observation that gets no chunk because its time is over."""

    identity: bytes
    sequence: int
    code: ErrorCode
    text: str


class Scheduler:
    """Hand out the newest frames.

    Args:
        config: How.
        action: What the policy's actions are.

    Attributes:
        counts: What happened so far, by name.
    """

    def __init__(self, config: SchedulingConfig, action: ActionSpec) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        self._action = action
        self._sessions: dict[bytes, Session] = {}
        self._lock = threading.RLock()
        self._to_act = threading.Condition(self._lock)
        self._to_plan = threading.Condition(self._lock)
        self._to_expire = threading.Condition(self._lock)
        self._awaited_expiry_ns: int | None = None
        self._closed = False

    def admit(self, identity: bytes, now_ns: int) -> bool:
        """Give a client a place, or renew it; False when all places are taken."""
        with self._lock:
            session = self._sessions.get(identity)
            if session is None:
                if len(self._sessions) >= self.config.max_clients and not self._evict(now_ns):
                    return False
                session = self._sessions[identity] = self._session(identity)
            session.last_seen_ns = now_ns
            return True

    def submit(self, identity: bytes, frame: Frame) -> None:
        """Leave an admitted client's newest frame; it replaces one that System 1 has not taken."""
        with self._lock:
            session = self._sessions[identity]
            if session.frame is not None and session.acted_on != session.frame.observation.sequence:
                session.superseded += 1
                self.counts["frames_superseded"] += 1
            session.frame = frame
            session.learn(frame.observation, frame.received_ns)
            session.replan |= frame.observation.replan
            if self._frame_to_act_on(session) is not None:
                self._to_act.notify()
            if self._due(session, frame.received_ns) is not None:
                self._to_plan.notify()
            due_ns, _ = self._due_ns(session, frame)
            if due_ns is not None and (self._awaited_expiry_ns is None or due_ns < self._awaited_expiry_ns):
                self._to_expire.notify()

    def leave(self, identity: bytes) -> None:
        """Forget a client."""
        with self._lock:
            self._sessions.pop(identity, None)

    def wait_to_act(self, timeout_s: float) -> None:
        """Wait until System 1 may have work, at most `timeout_s`."""
        with self._lock:
            if not self._closed and self._next_to_act() is None:
                self._to_act.wait(timeout_s)

    def wait_to_plan(self, now_ns: int, timeout_s: float) -> None:
        """Wait until System 2 may have work, at most `timeout_s`."""
        with self._lock:
            if not self._closed and not any(self._due(session, now_ns) for session in self._sessions.values()):
                self._to_plan.wait(timeout_s)

    def wait_to_expire(self, now_ns: int, timeout_s: float) -> None:
        """Wait until the time of an observation may be over, at most `timeout_s`."""
        with self._lock:
            due_ns = self._awaited_expiry_ns = self._next_expiry_ns()
            if not self._closed:
                self._to_expire.wait(timeout_s if due_ns is None else min((due_ns - now_ns) / NS_PER_S, timeout_s))

    def take_act_job(self, now_ns: int) -> ActJob | None:
        """Return the newest frame of the client that System 1 served longest ago, or None.

        A frame whose instruction has no plan yet waits for System 2: nobody acts on the plan of another instruction.
        """
        with self._lock:
            session = self._next_to_act()
            if session is None or session.plan is None or self._closed:
                return None
            frame = self._frame_to_act_on(session)
            assert frame is not None  # noqa: S101 - that is what made it next
            observation = frame.observation
            # What was handed out for another instruction is held to only where it will have been executed.
            soft = observation.instruction == session.timeline_instruction
            session.timeline_instruction = observation.instruction
            if observation.fresh:
                session.timeline.clear()
            session.acted_on = observation.sequence
            session.acted_ns = now_ns
            splice = session.timeline.splice(frame.capture_ns, session.delay.estimate_ns, soft=soft)
            session.acting = ActJob(session.identity, frame, session.plan, splice, session.superseded)
            return session.acting

    def finish_act(self, job: ActJob, acted: Acted, now_ns: int) -> Handout | Overdue | None:
        """Take in what System 1 made of a job: return what may go out, why nothing may, or None for a client that left.

        A job that was overdue already has been answered; it gives None.
        """
        with self._lock:
            session = self._sessions.get(job.identity)
            if session is None or session.acting is not job:
                self.counts["chunks_discarded"] += 1
                return None
            session.acting = None
            if self.config.synchronous:
                self._to_plan.notify()
            overdue = self._overdue(session, job.frame, job.plan, now_ns)
            if overdue is not None:
                return overdue
            observation = job.frame.observation
            self.counts["chunks"] += 1
            chunk_id = self.counts["chunks"]
            actions = session.timeline.add(job.splice, acted.actions)
            if acted.cells is not None and session.change.look(job.frame.capture_ns, acted.cells, job.frame.view_count):
                session.changed = True
                self.counts["changes"] += 1
                self._to_plan.notify()
            frame_age_ns, plan_age_ns = self._ages(session, job.frame, job.plan, now_ns)
            # A plan that was waited for says nothing of how long the next chunk takes.
            cold = job.plan.frame is job.frame or chunk_id == 1
            session.sent(chunk_id, Sent(job.frame.capture_ns, observation.sent_ns, job.frame.received_ns, now_ns, cold))
            if not observation.held_chunk_id and not cold:
                session.delay.add(frame_age_ns)
            pace = self.config.staleness.pace(frame_age_ns, plan_age_ns)
            session.handout = Handout(chunk_id, actions, pace, frame_age_ns, plan_age_ns)
            session.handed_out_ns.append(now_ns)
            return session.handout

    def fail_act(self, job: ActJob) -> bool:
        """Give up a job; False when it has been answered already."""
        with self._lock:
            session = self._sessions.get(job.identity)
            if session is None or session.acting is not job:
                return False
            session.acting = None
            if self.config.synchronous:
                self._to_plan.notify()
            return True

    def take_plan_job(self, now_ns: int) -> PlanJob | None:
        """Return the newest frame of the client that needs a plan most, or None."""
        with self._lock:
            due = [(session, reason) for session in self._sessions.values() if (reason := self._due(session, now_ns))]
            if not due or self._closed:
                return None
            # A new instruction stops an arm until it is planned, so it goes before a mere period.
            session, reason = min(due, key=lambda entry: (entry[1] is PlanReason.PERIOD, entry[0].planned_ns))
            assert session.frame is not None  # noqa: S101 - that is what made it due
            session.planned_on = session.frame.observation.sequence
            session.planned_ns = now_ns
            session.replan = session.changed = False
            session.change.plan_begun(session.frame.capture_ns)
            session.planning = PlanJob(session.identity, session.frame, reason)
            return session.planning

    def finish_plan(self, job: PlanJob, tensors: PlanTensors) -> HeldPlan:
        """Put a plan in the place of the client's older one; a client that left is forgotten."""
        with self._lock:
            self.counts["plans"] += 1
            self.counts[f"plans_{job.reason.name.lower()}"] += 1
            plan = HeldPlan(self.counts["plans"], tensors, job.frame, job.reason)
            session = self._sessions.get(job.identity)
            if session is not None and session.planning is job:
                session.planning = None
                session.plan = plan
                session.failed_instruction = None
                self._to_act.notify()
            return plan

    def fail_plan(self, job: PlanJob, *, for_good: bool) -> None:
        """Give up a plan; one that failed for good is not tried again until its instruction changes."""
        with self._lock:
            session = self._sessions.get(job.identity)
            if session is not None and session.planning is job:
                session.planning = None
                session.failed_instruction = job.frame.observation.instruction if for_good else None

    def has_place(self, identity: bytes) -> bool:
        """Say whether a client has a place; one that was silent may have lost it to another."""
        with self._lock:
            return identity in self._sessions

    def cannot_plan(self, identity: bytes, instruction: str) -> bool:
        """Say whether a client's instruction has failed for good."""
        with self._lock:
            session = self._sessions.get(identity)
            return session is not None and session.failed_instruction == instruction

    def expire(self, now_ns: int) -> list[Overdue]:
        """Give up every observation whose time is over, whether it waits or is worked on, and return them."""
        with self._lock:
            found = []
            for session in self._sessions.values():
                for frame in self._open_frames(session):
                    overdue = self._overdue(session, frame, None, now_ns)
                    if overdue is None:
                        continue
                    found.append(overdue)
                    if session.acting is not None and session.acting.frame is frame:
                        session.acting = None
                    else:
                        session.acted_on = frame.observation.sequence
            return found

    def close(self) -> None:
        """Wake every waiter; no job is handed out any more."""
        with self._lock:
            self._closed = True
            for condition in (self._to_act, self._to_plan, self._to_expire):
                condition.notify_all()

    @property
    def clients(self) -> int:
        """How many clients have a place."""
        with self._lock:
            return len(self._sessions)

    def survey(self, read: Callable[[Session], T]) -> list[T]:
        """Return what a function reads of each client's session, which it must do quickly and without changing any."""
        with self._lock:
            return [read(session) for session in self._sessions.values()]

    def _session(self, identity: bytes) -> Session:
        timeline = Timeline(self._action.horizon, self._action.period_ns, self.config.chunking)
        delay = DelayEstimator(self._action.period_ns, self.config.chunking.delay_margin)
        return Session(identity, timeline, delay, ChangeDetector(self.config.change))

    def _next_to_act(self) -> Session | None:
        ready = [session for session in self._sessions.values() if self._frame_to_act_on(session) is not None]
        return min(ready, key=lambda session: session.acted_ns, default=None)

    def _frame_to_act_on(self, session: Session) -> Frame | None:
        frame, plan = session.frame, session.plan
        if plan is not None and self.config.synchronous:
            frame = plan.frame
        if frame is None or plan is None or session.acting is not None:
            return None
        if frame.observation.sequence == session.acted_on:
            return None
        return frame if plan.frame.observation.instruction == frame.observation.instruction else None

    def _due(self, session: Session, now_ns: int) -> PlanReason | None:
        if session.frame is None or session.frame.observation.sequence == session.planned_on:
            return None
        instruction = session.frame.observation.instruction
        if instruction == session.failed_instruction:
            return None
        planned_for = None if session.plan is None else session.plan.frame.observation.instruction
        asked = (
            (planned_for is None, PlanReason.FIRST),
            (planned_for != instruction, PlanReason.INSTRUCTION),
            (session.replan, PlanReason.REQUEST),
            (session.changed, PlanReason.CHANGE),
            (self._period_is_over(session, now_ns), PlanReason.PERIOD),
        )
        return next((reason for holds, reason in asked if holds), None)

    def _period_is_over(self, session: Session, now_ns: int) -> bool:
        if self.config.synchronous:
            return session.acting is None and self._frame_to_act_on(session) is None
        return now_ns - session.planned_ns >= self.config.plan_period_ns

    def _next_expiry_ns(self) -> int | None:
        due = (
            self._due_ns(session, frame)[0]
            for session in self._sessions.values()
            for frame in self._open_frames(session)
        )
        return min((at_ns for at_ns in due if at_ns is not None), default=None)

    def _open_frames(self, session: Session) -> list[Frame]:
        """Return what a client waits for an answer to: the frame that is worked on, and the one that waits."""
        frames = [session.acting.frame] if session.acting is not None else []
        if session.frame is not None and session.frame.observation.sequence != session.acted_on:
            frames.append(session.frame)
        return frames

    def _due_ns(self, session: Session, frame: Frame) -> tuple[int | None, ErrorCode]:
        """Return when a frame's time is over, on this machine's clock, and by what."""
        observation = frame.observation
        captured_ns = session.captured_ns(frame)
        due: list[tuple[int, ErrorCode]] = []
        if observation.deadline_ns:
            sent_ns = captured_ns + (observation.sent_ns - frame.capture_ns)
            due.append((sent_ns + observation.deadline_ns, ErrorCode.DEADLINE))
        if self.config.staleness.frame.hold_ns:
            due.append((captured_ns + self.config.staleness.frame.hold_ns, ErrorCode.STALE))
        return min(due, default=(None, ErrorCode.DEADLINE))

    def _overdue(self, session: Session, frame: Frame, plan: HeldPlan | None, now_ns: int) -> Overdue | None:
        at_ns, code = self._due_ns(session, frame)
        sequence = frame.observation.sequence
        if at_ns is not None and now_ns >= at_ns:
            self.counts["chunks_late" if code is ErrorCode.DEADLINE else "chunks_stale"] += 1
            return Overdue(session.identity, sequence, code, self._why(session, frame, code, now_ns))
        if plan is not None:
            age_ns = now_ns - session.captured_ns(plan.frame)
            if self.config.staleness.plan.pace(age_ns) >= Pace.HOLD:
                self.counts["chunks_stale"] += 1
                text = f"the plan is {age_ns / NS_PER_MS:.0f} ms old, too old to act by; hold until a newer chunk comes"
                return Overdue(session.identity, sequence, ErrorCode.STALE, text)
        return None

    def _why(self, session: Session, frame: Frame, code: ErrorCode, now_ns: int) -> str:
        age_ms = (now_ns - session.captured_ns(frame)) / NS_PER_MS
        if code is ErrorCode.DEADLINE:
            deadline_ms = frame.observation.deadline_ns / NS_PER_MS
            return f"no chunk within the deadline of {deadline_ms:.1f} ms; the frame is {age_ms:.1f} ms old"
        bound_ms = self.config.staleness.frame.hold_ns / NS_PER_MS
        return f"the frame is {age_ms:.1f} ms old, {bound_ms:.1f} ms are allowed; hold until a newer chunk comes"

    def _ages(self, session: Session, frame: Frame, plan: HeldPlan, now_ns: int) -> tuple[int, int]:
        frame_age_ns = now_ns - session.captured_ns(frame)
        return frame_age_ns, frame_age_ns + frame.capture_ns - plan.frame.capture_ns

    def _evict(self, now_ns: int) -> bool:
        oldest = min(self._sessions.values(), key=lambda session: session.last_seen_ns)
        if now_ns - oldest.last_seen_ns < self.config.idle_ns:
            return False
        del self._sessions[oldest.identity]
        return True
