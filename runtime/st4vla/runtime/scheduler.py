"""Which client's frame each system works on next.

Pure bookkeeping under one lock: no sockets, no engines, and time comes in as an argument, so the same code runs live
and in a replay. Nothing in it can grow: one frame and one plan a client, and a bounded number of clients.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from st4vla.contracts.messages import Observation, PlanReason
from st4vla.runtime.policy import PlanTensors, Views


@dataclass(frozen=True)
class Frame:
    """An observation, its views [V, H, W, 3] and when it arrived on this machine's clock."""

    observation: Observation
    views: Views
    received_ns: int


@dataclass(frozen=True)
class HeldPlan:
    """A plan, and the frame it was made on."""

    plan_id: int
    tensors: PlanTensors
    frame: Frame
    started_ns: int


@dataclass
class Session:
    """What is kept of one client.

    Attributes:
        identity: Its address on the socket.
        frame: Its newest frame.
        acted_on: Sequence of the frame that System 1 last took.
        planned_on: Sequence of the frame that System 2 last took.
        plan: Its newest plan.
        superseded: Frames that a newer one replaced before System 1 took them.
        last_seen_ns: When it last sent anything.
        acted_ns: When System 1 last served it; the one served longest ago goes first.
        planned_ns: The same for System 2.
        replan: It has asked for a plan since the last one began.
        failed_instruction: An instruction that could not be planned, not tried again until it changes.
    """

    identity: bytes
    frame: Frame | None = None
    acted_on: int | None = None
    planned_on: int | None = None
    plan: HeldPlan | None = None
    superseded: int = 0
    last_seen_ns: int = 0
    acted_ns: int = 0
    planned_ns: int = 0
    replan: bool = False
    failed_instruction: str | None = None


@dataclass(frozen=True)
class ActJob:
    """Work for System 1."""

    identity: bytes
    frame: Frame
    plan: HeldPlan
    superseded: int


@dataclass(frozen=True)
class PlanJob:
    """Work for System 2."""

    identity: bytes
    frame: Frame
    reason: PlanReason


@dataclass
class Scheduler:
    """Hand out the newest frames.

    Attributes:
        plan_period_ns: Shortest time between the beginnings of two plans for the same instruction.
        max_clients: How many clients are kept; a further one is refused.
        idle_ns: A client that was silent for longer loses its place when another one needs it.
    """

    plan_period_ns: int
    max_clients: int = 8
    idle_ns: int = 10_000_000_000
    _sessions: dict[bytes, Session] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _closed: bool = False

    def admit(self, identity: bytes, now_ns: int) -> bool:
        """Give a client a place, or renew it; False when all places are taken."""
        with self._changed:
            session = self._sessions.get(identity)
            if session is None:
                if len(self._sessions) >= self.max_clients and not self._evict(now_ns):
                    return False
                session = self._sessions[identity] = Session(identity)
            session.last_seen_ns = now_ns
            return True

    def submit(self, identity: bytes, frame: Frame) -> None:
        """Leave an admitted client's newest frame; it replaces one that System 1 has not taken."""
        with self._changed:
            session = self._sessions[identity]
            if session.frame is not None and session.acted_on != session.frame.observation.sequence:
                session.superseded += 1
            session.frame = frame
            session.replan |= frame.observation.replan
            self._changed.notify_all()

    def leave(self, identity: bytes) -> None:
        """Forget a client."""
        with self._changed:
            self._sessions.pop(identity, None)

    def take_act_job(self, now_ns: int, timeout_s: float) -> ActJob | None:
        """Return the newest frame of the client that System 1 served longest ago, waiting for one if need be.

        A frame whose instruction has no plan yet waits for System 2: nobody acts on the plan of another instruction.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._next_to_act() is not None, timeout_s)
            session = self._next_to_act()
            if session is None or session.frame is None or session.plan is None or self._closed:
                return None
            session.acted_on = session.frame.observation.sequence
            session.acted_ns = now_ns
            return ActJob(session.identity, session.frame, session.plan, session.superseded)

    def take_plan_job(self, now_ns: int) -> PlanJob | None:
        """Return the newest frame of the client that needs a plan most, or None."""
        with self._changed:
            due = [(session, reason) for session in self._sessions.values() if (reason := self._due(session, now_ns))]
            if not due or self._closed:
                return None
            # A new instruction stops an arm until it is planned, so it goes before a mere period.
            session, reason = min(due, key=lambda entry: (entry[1] is PlanReason.PERIOD, entry[0].planned_ns))
            if session.frame is None:
                return None
            session.planned_on = session.frame.observation.sequence
            session.planned_ns = now_ns
            session.replan = False
            return PlanJob(session.identity, session.frame, reason)

    def wait(self, timeout_s: float) -> None:
        """Wait until something changes, at most `timeout_s`."""
        with self._changed:
            if not self._closed:
                self._changed.wait(timeout_s)

    def finish_plan(self, identity: bytes, plan: HeldPlan) -> None:
        """Put a plan in the place of the client's older one; a client that left is forgotten."""
        with self._changed:
            if session := self._sessions.get(identity):
                session.plan = plan
                session.failed_instruction = None
                self._changed.notify_all()

    def fail_plan(self, identity: bytes, frame: Frame) -> None:
        """Remember an instruction that cannot be planned, so that it is not tried for each frame."""
        with self._changed:
            if session := self._sessions.get(identity):
                session.failed_instruction = frame.observation.instruction

    def close(self) -> None:
        """Wake every waiter; no job is handed out any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def clients(self) -> int:
        """How many clients have a place."""
        with self._changed:
            return len(self._sessions)

    def _next_to_act(self) -> Session | None:
        ready = [session for session in self._sessions.values() if _can_act(session)]
        return min(ready, key=lambda session: session.acted_ns, default=None)

    def _due(self, session: Session, now_ns: int) -> PlanReason | None:
        if session.frame is None or session.frame.observation.sequence == session.planned_on:
            return None
        instruction = session.frame.observation.instruction
        if instruction == session.failed_instruction:
            return None
        if session.plan is None:
            return PlanReason.FIRST
        if session.plan.frame.observation.instruction != instruction:
            return PlanReason.INSTRUCTION
        if session.replan:
            return PlanReason.REQUEST
        return PlanReason.PERIOD if now_ns - session.planned_ns >= self.plan_period_ns else None

    def _evict(self, now_ns: int) -> bool:
        oldest = min(self._sessions.values(), key=lambda session: session.last_seen_ns)
        if now_ns - oldest.last_seen_ns < self.idle_ns:
            return False
        del self._sessions[oldest.identity]
        return True


def _can_act(session: Session) -> bool:
    frame, plan = session.frame, session.plan
    if frame is None or plan is None or frame.observation.sequence == session.acted_on:
        return False
    return plan.frame.observation.instruction == frame.observation.instruction
