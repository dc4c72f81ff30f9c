"""What is kept of one client."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from st4vla.contracts.clock import ClockOffsetEstimator
from st4vla.contracts.messages import Observation, PlanReason
from st4vla.contracts.staleness import Pace
from st4vla.runtime.change import ChangeDetector
from st4vla.runtime.chunking import Actions, Splice, Timeline
from st4vla.runtime.delay import DelayEstimator
from st4vla.runtime.frame import Frame
from st4vla.runtime.policy import PlanTensors


class HeldPlan(msgspec.Struct, frozen=True):
    """A plan, the frame it was made on, and why."""

    plan_id: int
    tensors: PlanTensors
    frame: Frame
    reason: PlanReason


class PlanJob(msgspec.Struct, frozen=True):
    """Work for System 2."""

    identity: bytes
    frame: Frame
    reason: PlanReason


class ActJob(msgspec.Struct, frozen=True):
    """Work for System 1.

    Attributes:
        identity: Whose.
        frame: The frame to act on.
        plan: The plan to act by.
        splice: How its chunk joins the one before.
        superseded: Frames of this client that were never acted on.
    """

    identity: bytes
    frame: Frame
    plan: HeldPlan
    splice: Splice
    superseded: int


class Handout(msgspec.Struct, frozen=True):
    """A chunk that may go out.

    Attributes:
        chunk_id: Its number.
        actions: Normalised actions [T, A] as they go out.
        pace: RUN or SLOW.
        frame_age_ns: Age of the frame now.
        plan_age_ns: Age of the plan's frame now.
    """

    chunk_id: int
    actions: Actions
    pace: Pace
    frame_age_ns: int
    plan_age_ns: int


class Sent(msgspec.Struct, frozen=True):
    """What is remembered of a chunk that went out, to learn from its receipt. `cold` ones say nothing of the next."""

    captured_ns: int
    sent_ns: int
    received_ns: int
    replied_ns: int
    cold: bool


@dataclass
class Session:
    """One client.

    Attributes:
        identity: Its address.
        timeline: The chunks that it was given.
        delay: How long they take to reach it.
        change: Whether its scene has changed since its plan.
        frame: Its newest frame.
        acted_on: Sequence of the frame that System 1 last took.
        planned_on: Sequence of the frame that System 2 last took.
        plan: Its newest plan.
        acting: What System 1 is working on for it.
        planning: What System 2 is working on for it.
        superseded: Frames that a newer one replaced before System 1 took them.
        last_seen_ns: When it last sent anything.
        timeline_instruction: The instruction that its last chunk was made for.
        acted_ns: When System 1 last served it; the one served longest ago goes first.
        planned_ns: The same for System 2.
        replan: It has asked for a plan since the last one began.
        changed: Its scene has changed since the last plan began.
        failed_instruction: An instruction that could not be planned, not tried again until it changes.
        clock: What its clock shows against ours.
        sent_ns: When it sent its last frame, on its clock.
        held_chunk_id: The newest chunk that it said it has.
        handout: The newest chunk that it was given.
        handed_out_ns: When it was given its last chunks.
    """

    identity: bytes
    timeline: Timeline
    delay: DelayEstimator
    change: ChangeDetector
    frame: Frame | None = None
    acted_on: int | None = None
    planned_on: int | None = None
    plan: HeldPlan | None = None
    acting: ActJob | None = None
    planning: PlanJob | None = None
    superseded: int = 0
    last_seen_ns: int = 0
    timeline_instruction: str | None = None
    acted_ns: int = 0
    planned_ns: int = 0
    replan: bool = False
    changed: bool = False
    failed_instruction: str | None = None
    clock: ClockOffsetEstimator = field(default_factory=ClockOffsetEstimator)
    sent_ns: int = 0
    held_chunk_id: int = 0
    handout: Handout | None = None
    handed_out_ns: deque[int] = field(default_factory=lambda: deque(maxlen=128))
    _sent: dict[int, Sent] = field(default_factory=dict)
    _order: deque[int] = field(default_factory=deque)

    def captured_ns(self, frame: Frame) -> int:
        """Return when a frame was captured, on this machine's clock.

        Before the client's clock is known, its way here counts as no time.
        """
        observation, offset = frame.observation, self.clock.estimate
        if offset is None:
            return frame.received_ns - (observation.sent_ns - frame.capture_ns)
        return min(frame.capture_ns + offset.offset_ns, frame.received_ns)

    def sent(self, chunk_id: int, sent: Sent) -> None:
        """Remember a chunk until its receipt; a few at most."""
        self._sent[chunk_id] = sent
        self._order.append(chunk_id)
        if len(self._order) > 8:
            self._sent.pop(self._order.popleft(), None)

    def learn(self, observation: Observation, received_ns: int) -> None:
        """Learn from a message's times, and from what its client says of the newest chunk that it has."""
        offset = self.clock.estimate
        if offset is not None:
            # Sent before the message before it, or after it was received: its clock has stepped.
            early = observation.sent_ns < self.sent_ns
            if early or observation.sent_ns + offset.offset_ns - offset.error_bound_ns > received_ns:
                self.clock.forget()
                self._sent.clear()
        self.sent_ns = observation.sent_ns
        chunk_id, arrived_ns = observation.held_chunk_id, observation.held_received_ns
        if chunk_id == self.held_chunk_id:
            return
        self.held_chunk_id = chunk_id
        sent = self._sent.get(chunk_id)
        if sent is None:
            return
        # A receipt that cannot be true is its sender's affair.
        with suppress(ValueError):
            self.clock.add(
                sent_ns=sent.sent_ns,
                peer_received_ns=sent.received_ns,
                peer_replied_ns=sent.replied_ns,
                received_ns=arrived_ns,
            )
            if not sent.cold:
                self.delay.add(arrived_ns - sent.captured_ns)
