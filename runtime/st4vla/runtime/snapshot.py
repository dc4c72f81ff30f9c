"""Everything that an operator wants to know of a server at one moment; JSON for `st4vla top` and for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.contracts.staleness import Staleness
from st4vla.runtime.core import Core
from st4vla.runtime.diagnosis import Cause
from st4vla.runtime.distribution import Figures, rate_hz
from st4vla.runtime.doors.door import Door
from st4vla.runtime.printable import client_name, printable
from st4vla.runtime.session import Session
from st4vla.runtime.vitals import SystemVitals

#: Characters of an instruction that are shown.
INSTRUCTION_CHARACTERS = 80


class SystemSnapshot(msgspec.Struct, frozen=True):
    """One system.

    Attributes:
        calls: How long its calls took, and how often there was one.
        failures: Calls so far in which the policy failed.
        busy_s: How long the call has taken that is running; 0 when none is.
    """

    calls: Figures = Figures()
    failures: int = 0
    busy_s: float = 0.0


class Drops(msgspec.Struct, frozen=True):
    """What was taken in or made and not used, so far.

    Attributes:
        superseded: Frames that a newer one replaced before System 1 took them.
        late: Observations whose deadline passed.
        stale: Observations that became too old to act on, by their frame or their plan.
        discarded: Chunks for a client that had left, or that had been told already that its time was over.
        replies_superseded: Replies that a newer one replaced before a slow client took them.
        replies_dropped: Replies to a client that was gone.
        refused: Refusals by the name of their code.
    """

    superseded: int = 0
    late: int = 0
    stale: int = 0
    discarded: int = 0
    replies_superseded: int = 0
    replies_dropped: int = 0
    refused: dict[str, int] = {}


class ClientSnapshot(msgspec.Struct, frozen=True):
    """One client. What has not happened yet is None.

    Attributes:
        name: Its door and a digest of its address.
        instruction: What it wants done, shortened.
        rate_hz: Chunks handed out to it a second.
        frame_age_ms: Age of the frame behind its last chunk when that was handed out.
        plan_age_ms: The same for the plan behind it.
        plan_age_now_ms: Age of the plan that is kept for it.
        pace: What may be done with its last chunk by now: RUN, SLOW, HOLD or STOP.
        chunk_id: Its last chunk.
        superseded: Its frames that a newer one replaced before System 1 took them.
        clock_offset_ms: What to add to its clock to get the server's.
        clock_bound_ms: How far from the truth that may be.
        delay_ms: How old its frame is expected to be when its next chunk arrives.
        last_seen_s: How long ago it sent something.
    """

    name: str
    instruction: str
    rate_hz: float
    frame_age_ms: float | None
    plan_age_ms: float | None
    plan_age_now_ms: float | None
    pace: str | None
    chunk_id: int | None
    superseded: int
    clock_offset_ms: float | None
    clock_bound_ms: float | None
    delay_ms: float
    last_seen_s: float


class Snapshot(msgspec.Struct, frozen=True):
    """A server at one moment.

    Attributes:
        bundle_name: What it serves.
        bundle_digest: SHA-256 of that bundle's manifest, hexadecimal.
        health: ``starting``, ``ready``, ``degraded`` or ``stopping``.
        ready: Whether it answers observations.
        causes: Why it is degraded, or what it waits for.
        uptime_s: Since it began to serve.
        system1: The fast system.
        system2: The slow one.
        frame_age: Ages of frames when their chunks were handed out.
        plan_age: Ages of plans when chunks were handed out by them.
        counts: What happened so far, by name.
        drops: What of that was lost.
        max_clients: How many clients it takes.
        clients: Those that it has.
        cause_names: Every cause that there can be.
    """

    bundle_name: str
    bundle_digest: str
    health: str
    ready: bool
    causes: tuple[Cause, ...] = ()
    uptime_s: float = 0.0
    system1: SystemSnapshot = SystemSnapshot()
    system2: SystemSnapshot = SystemSnapshot()
    frame_age: Figures = Figures()
    plan_age: Figures = Figures()
    counts: dict[str, int] = {}
    drops: Drops = Drops()
    max_clients: int = 0
    clients: tuple[ClientSnapshot, ...] = ()
    cause_names: tuple[str, ...] = ()


def take_snapshot(core: Core, now_ns: int, doors: Sequence[Door] = ()) -> Snapshot:
    """Return what a core is like, and what its doors have counted; `now_ns` is on this machine's clock.

    Both systems wait for it no longer than the reading of each client's session takes.
    """
    vitals, causes = core.vitals, core.diagnosis.causes(now_ns)
    config, counts = core.scheduler.config, Counter(dict(core.counts))
    for door in doors:
        counts.update({f"door_{door.name}_{name}": count for name, count in dict(door.counts).items()})
    return Snapshot(
        bundle_name=core.info.name,
        bundle_digest=core.info.digest.hex(),
        health=core.health.name.lower(),
        ready=core.diagnosis.why_dead(now_ns) is None,
        causes=causes,
        uptime_s=round((now_ns - core.started_ns) / NS_PER_S, 3),
        system1=_system(vitals.system1, now_ns),
        system2=_system(vitals.system2, now_ns),
        frame_age=vitals.frame_age.figures(now_ns),
        plan_age=vitals.plan_age.figures(now_ns),
        counts=dict(counts),
        drops=_drops(counts),
        max_clients=config.max_clients,
        clients=tuple(core.scheduler.survey(lambda session: _client(session, config.staleness, now_ns))),
        cause_names=core.diagnosis.names,
    )


def _system(system: SystemVitals, now_ns: int) -> SystemSnapshot:
    began_ns = system.began_ns
    busy_s = 0.0 if began_ns is None else max(now_ns - began_ns, 0) / NS_PER_S
    return SystemSnapshot(system.seconds.figures(now_ns), system.failures, round(busy_s, 3))


def _drops(counts: Mapping[str, int]) -> Drops:
    prefix = "refused_"
    return Drops(
        superseded=counts.get("frames_superseded", 0),
        late=counts.get("chunks_late", 0),
        stale=counts.get("chunks_stale", 0),
        discarded=counts.get("chunks_discarded", 0),
        replies_superseded=counts.get("replies_superseded", 0),
        replies_dropped=counts.get("replies_dropped", 0),
        refused={name[len(prefix) :]: count for name, count in counts.items() if name.startswith(prefix)},
    )


def _client(session: Session, staleness: Staleness, now_ns: int) -> ClientSnapshot:
    handout, offset, plan, frame = session.handout, session.clock.estimate, session.plan, session.frame
    handed_out_ns = session.handed_out_ns
    pace = None
    if handout is not None:
        since_ns = now_ns - handed_out_ns[-1]
        pace = staleness.pace(handout.frame_age_ns + since_ns, handout.plan_age_ns + since_ns).name
    return ClientSnapshot(
        name=client_name(session.identity),
        instruction="" if frame is None else printable(frame.observation.instruction, INSTRUCTION_CHARACTERS),
        rate_hz=round(rate_hz(handed_out_ns, now_ns), 2),
        frame_age_ms=_ms(None if handout is None else handout.frame_age_ns),
        plan_age_ms=_ms(None if handout is None else handout.plan_age_ns),
        plan_age_now_ms=_ms(None if plan is None else now_ns - session.captured_ns(plan.frame)),
        pace=pace,
        chunk_id=None if handout is None else handout.chunk_id,
        superseded=session.superseded,
        clock_offset_ms=_ms(None if offset is None else offset.offset_ns),
        clock_bound_ms=_ms(None if offset is None else offset.error_bound_ns),
        delay_ms=round(session.delay.estimate_ns / NS_PER_MS, 2),
        last_seen_s=round(max(now_ns - session.last_seen_ns, 0) / NS_PER_S, 3),
    )


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / NS_PER_MS, 3)
