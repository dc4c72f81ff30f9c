"""What an operator should look at: each cause is a name for alerts and a sentence that says what to do.

What comes and goes with single calls is shown for a few seconds more, and a share that has raised a cause must fall
well below what raised it, so that nothing flickers. What is so or not, such as a thread that runs, is told as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec

from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.runtime.scheduler import Scheduler
from st4vla.runtime.session import Session
from st4vla.runtime.vitals import SystemVitals, Vitals

#: A system that works on one call for longer hangs, unless its calls usually take so long: then it is some times that.
HANG_NS, HANG_FACTOR = 5 * NS_PER_S, 3
#: Shares of the last calls that failed, and of the last answers that were too old, which raise and which end a cause.
FAILING, NO_LONGER_FAILING = 0.2, 0.05
STALE, NO_LONGER_STALE = 0.5, 0.2
#: Fewer failures or stale answers are no cause, whatever their share.
FEWEST = 3
#: Age of a plan, as a share of what is allowed, below which it must fall before the plans are fine again.
FRESH_AGAIN = 0.8
#: What is longer ago is no cause any more.
MEMORY_NS = 30 * NS_PER_S
#: How long a cause that may flicker is shown at least, and which those are.
LINGER_NS = 5 * NS_PER_S
LINGERING = frozenset({"system1_fails", "system2_fails", "unsafe_output", "stale_plans", "stale_answers"})
#: A client that was silent for longer waits for nothing.
ACTIVE_NS = 2 * NS_PER_S
#: Whoever asks more often is told the same, so that asking costs the systems nothing.
CACHE_NS = 100 * NS_PER_MS

#: Names of the causes that are looked for always; those of `watch` come to them.
CAUSES = (
    "system1_hangs",
    "system2_hangs",
    "system1_fails",
    "system2_fails",
    "unsafe_output",
    "stale_plans",
    "stale_answers",
)

Check = Callable[[], str | None]


class Cause(msgspec.Struct, frozen=True):
    """Why a server is degraded: a name that does not change, and a sentence for people."""

    name: str
    text: str


class Diagnosis:
    """Look for causes.

    Args:
        vitals: What both systems did.
        scheduler: Whose clients' plans are looked at.
    """

    def __init__(self, vitals: Vitals, scheduler: Scheduler) -> None:
        self._systems = {"system1": vitals.system1, "system2": vitals.system2}
        self._vitals = vitals
        self._scheduler = scheduler
        self._checks: dict[str, tuple[Check, bool]] = {}
        self._raised: dict[str, tuple[int, str]] = {}
        self._lock = threading.Lock()
        self._looked_ns: int | None = None

    def watch(self, name: str, check: Check, *, vital: bool = False) -> None:
        """Ask a part of the server as well.

        Args:
            name: Of the cause, in lower case with underscores.
            check: Returns None, or what is wrong and what to do about it. It must be quick.
            vital: Nothing but a restart helps when it is wrong.
        """
        with self._lock:
            self._checks[name] = check, vital

    @property
    def names(self) -> tuple[str, ...]:
        """Every cause that there can be."""
        return (*CAUSES, *self._checks)

    def why_dead(self, now_ns: int) -> str | None:
        """Return why only a restart helps, or None: what a watchdog wants to know."""
        found = [said for check, vital in tuple(self._checks.values()) if vital and (said := check())]
        found += [said for _, said in self._hanging(now_ns)]
        return found[0] if found else None

    def causes(self, now_ns: int) -> tuple[Cause, ...]:
        """Return every cause."""
        with self._lock:
            if self._looked_ns is None or now_ns - self._looked_ns >= CACHE_NS:
                self._looked_ns = now_ns
                self._raised |= {name: (now_ns, said) for name, said in self._look(now_ns)}
                self._raised = {
                    name: (at_ns, said)
                    for name, (at_ns, said) in self._raised.items()
                    if at_ns == now_ns or (name in LINGERING and now_ns - at_ns < LINGER_NS)
                }
            return tuple(Cause(name, said) for name, (_, said) in self._raised.items())

    def _look(self, now_ns: int) -> Iterator[tuple[str, str]]:
        yield from self._hanging(now_ns)
        yield from self._failing(now_ns)
        unsafe = [at_ns for at_ns in self._vitals.unsafe_ns.copy() if now_ns - at_ns < MEMORY_NS]
        if unsafe:
            yield "unsafe_output", _unsafe(len(unsafe), now_ns - unsafe[-1])
        stale_plans = self._stale_plans(now_ns)
        if stale_plans is not None:
            yield "stale_plans", stale_plans
        elif (bad := self._share(self._vitals.answers, "stale_answers", STALE, NO_LONGER_STALE, now_ns)) is not None:
            yield "stale_answers", _stale(*bad)
        for name, (check, _) in self._checks.items():
            said = check()
            if said is not None:
                yield name, said

    def _hanging(self, now_ns: int) -> Iterator[tuple[str, str]]:
        for name, system in self._systems.items():
            began_ns = system.began_ns
            # The median is looked at only once a call is long.
            if began_ns is None or now_ns - began_ns <= HANG_NS:
                continue
            if now_ns - began_ns > HANG_FACTOR * system.seconds.median_ns():
                yield f"{name}_hangs", _hanging(name, now_ns - began_ns)

    def _failing(self, now_ns: int) -> Iterator[tuple[str, str]]:
        for name, system in self._systems.items():
            bad = self._share(system.outcomes, f"{name}_fails", FAILING, NO_LONGER_FAILING, now_ns)
            if bad is not None:
                yield f"{name}_fails", _failing(name, system, *bad)

    def _share(
        self, outcomes: Sequence[tuple[int, bool]], name: str, raises: float, ends: float, now_ns: int
    ) -> tuple[int, int] | None:
        """Return how many of how many recent outcomes are bad, or None when they are few enough."""
        recent = [bad for at_ns, bad in tuple(outcomes) if now_ns - at_ns < MEMORY_NS]
        raised = name in self._raised
        bad = sum(recent)
        enough = bad >= (1 if raised else FEWEST) and bad >= (ends if raised else raises) * len(recent)
        return (bad, len(recent)) if enough else None

    def _stale_plans(self, now_ns: int) -> str | None:
        allowed_ns = self._scheduler.config.staleness.plan.hold_ns
        if not allowed_ns:
            return None
        ages_ns = [age for age in self._scheduler.survey(lambda session: _plan_age_ns(session, now_ns)) if age]
        bound_ns = allowed_ns * (FRESH_AGAIN if "stale_plans" in self._raised else 1.0)
        if not ages_ns or min(ages_ns) < bound_ns:
            return None
        return (
            f"the youngest plan of {len(ages_ns)} active clients is {min(ages_ns) / NS_PER_MS:.0f} ms old, "
            f"{allowed_ns / NS_PER_MS:.0f} ms are allowed: System 2 does not keep up; serve fewer clients, give it "
            "more of the machine, or allow more with --plan-age-ms"
        )


def thread_check(thread: threading.Thread) -> Check:
    """Return a check for `Diagnosis.watch` that a thread runs."""
    said = f"the thread {thread.name} has ended: restart the server, and report what its log says"
    return lambda: None if thread.is_alive() else said


def _plan_age_ns(session: Session, now_ns: int) -> int | None:
    """Return how old the plan of a client is, or None where the client is the cause of its age."""
    if session.plan is None or session.frame is None or now_ns - session.last_seen_ns > ACTIVE_NS:
        return None
    if session.failed_instruction == session.frame.observation.instruction:
        return None
    return now_ns - session.captured_ns(session.plan.frame)


def _hanging(name: str, since_ns: int) -> str:
    return (
        f"{_title(name)} has been in one call for {since_ns / NS_PER_S:.0f} s: restart the server, and look for errors "
        "of the device in the kernel's log"
    )


def _unsafe(count: int, since_ns: int) -> str:
    return (
        f"{count} of the last chunks held NaN or infinity and were withheld, the last one {since_ns / NS_PER_S:.0f} s "
        "ago: check the engines with `st4vla compile BUNDLE --again`"
    )


def _stale(stale: int, answers: int) -> str:
    return (
        f"{stale} of the last {answers} observations became too old before System 1 was done: look at the network "
        "between robot and server, or serve fewer clients"
    )


def _failing(name: str, system: SystemVitals, failed: int, calls: int) -> str:
    return (
        f"{_title(name)} failed in {failed} of its last {calls} calls ({system.last_error}): look at the server's log, "
        "and restart the server if it goes on"
    )


def _title(name: str) -> str:
    return f"System {name[-1]}"
