"""System 1's rate beside a System 2 that never rests, against its rate alone: real engines in the runtime's core.

Frames are fed from both ends: each chunk and each plan is followed at once by a newer frame. So System 1 never waits
for one, and System 2 has a newer one whenever it has finished, however seldom chunks come.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import numpy as np

from st4vla.benchmarks.opened_bundle import opened
from st4vla.contracts.clock import NS_PER_S, monotonic_ns
from st4vla.contracts.errors import EngineError
from st4vla.contracts.manifests import Bundle
from st4vla.contracts.messages import ActionChunk, ErrorReply, Message, Observation, Plan, View
from st4vla.runtime.change import ChangeConfig
from st4vla.runtime.core import Core, Deliver
from st4vla.runtime.policy import Policy
from st4vla.runtime.scheduler import SchedulingConfig
from st4vla.runtime.server import SWITCH_INTERVAL_S

INSTRUCTION = "pick up the red cube"
#: Periods of plans: never again after the first one, and as soon as the last one is made.
NEVER_NS, ALWAYS_NS = 10_000 * NS_PER_S, 1
#: Share of its rate that System 1 must keep.
BAR = 0.8
#: System 2 does not rest when it works for this share of the time.
NEVER_RESTS = 0.9
HEADER = ("System 1", "Hz", "share of its rate alone", "bar")


class Rates(NamedTuple):
    """Chunks and plans a second, and the share of the time in which System 2 was at work."""

    chunks_hz: float
    plans_hz: float
    planning: float


class Contention(msgspec.Struct, frozen=True):
    """Rates of System 1, in chunks a second.

    Attributes:
        alone_hz: With one core, alone, one rate a turn.
        beside_hz: With one core, beside a System 2 that has the other and plans without a pause.
        both_cores_hz: Alone, with both cores.
        plans_hz: How often System 2 planned meanwhile.
        planning: Share of that time in which it was at work.
    """

    alone_hz: tuple[float, ...]
    beside_hz: tuple[float, ...]
    both_cores_hz: tuple[float, ...]
    plans_hz: float
    planning: float

    @property
    def share(self) -> float:
        """Share of its rate alone that System 1 keeps, the median of the turns."""
        return float(np.median([beside / alone for beside, alone in zip(self.beside_hz, self.alone_hz, strict=True)]))

    def rows(self) -> list[tuple[object, ...]]:
        """Return a table's rows under `HEADER`."""
        alone = float(np.median(self.alone_hz))
        return [
            ("alone, its core", alone, 1.0, ""),
            (
                f"beside System 2 ({self.plans_hz:.1f} plans a second, at work {self.planning:.0%} of the time)",
                float(np.median(self.beside_hz)),
                self.share,
                f"at least {BAR:g}",
            ),
            (
                "alone, both cores",
                float(np.median(self.both_cores_hz)),
                float(np.median(self.both_cores_hz)) / alone,
                "",
            ),
        ]

    def missed(self) -> list[str]:
        """Return what falls short of its bar, in words."""
        missed = []
        if self.share < BAR:
            missed.append(f"System 1 keeps {self.share:.0%} of its rate beside System 2, {BAR:.0%} was wanted")
        if self.planning < NEVER_RESTS:
            missed.append(f"System 2 was at work {self.planning:.0%} of the time, {NEVER_RESTS:.0%} was wanted")
        return missed


def measure(bundle: Bundle, work: Path, *, turns: int, seconds: float) -> Contention:
    """Run System 1 alone and beside System 2 in turns, each with one CPU thread, through the runtime's own core.

    Args:
        bundle: Whose engines run.
        work: Folder for them.
        turns: How many.
        seconds: Length of each measurement, at least.

    Raises:
        EngineError: An engine failed.
    """
    alone, beside, both = list[Rates](), list[Rates](), list[Rates]()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with (
        opened(bundle, work, system1_threads=1, system2_threads=1) as policy,
        opened(bundle, work, system1_threads=2, system2_threads=1) as wide,
    ):
        for each in (policy, wide):
            each.warm_up()
        for _ in range(turns):
            alone.append(rates(policy, seconds, NEVER_NS))
            beside.append(rates(policy, seconds, ALWAYS_NS))
            both.append(rates(wide, seconds, NEVER_NS))
    alone_hz, beside_hz, both_hz = (tuple(each.chunks_hz for each in side) for side in (alone, beside, both))
    plans_hz, planning = median(each.plans_hz for each in beside), median(each.planning for each in beside)
    return Contention(alone_hz, beside_hz, both_hz, plans_hz, planning)


def rates(policy: Policy, seconds: float, plan_period_ns: int) -> Rates:
    """Measure what a client gets that has a newer frame after each chunk and each plan.

    From the first chunk on to the first after the time is over: whole chunks in the time that they took.

    Raises:
        EngineError: An engine failed.
    """
    config = SchedulingConfig(plan_period_ns=plan_period_ns, change=ChangeConfig(enabled=False))
    core, camera = Core(policy, config), _Camera(policy)
    times, plans, failures, finished = list[float](), list[tuple[float, float]](), list[str](), threading.Event()

    def show(message: Message | None = None) -> None:
        if isinstance(message, ErrorReply):
            failures.append(message.message)
            finished.set()
        elif isinstance(message, ActionChunk) and not finished.is_set():
            # One that System 1 was at work on is delivered still, and had System 2 beside it for a while only.
            times.append(time.perf_counter())
            if times[-1] - times[0] >= seconds:
                finished.set()
        elif isinstance(message, Plan):
            plans.append((time.perf_counter(), message.inference_ns / NS_PER_S))
        if not finished.is_set():
            camera.show(core, show)

    core.start()
    try:
        show()
        finished.wait()
    finally:
        core.stop()
    if failures:
        raise EngineError(failures[0])
    began, ended = times[0], times[-1]
    took_s = ended - began
    # The first plan came before the first chunk, and the last one after the last.
    working_s = [max(min(done, ended) - max(done - plan_s, began), 0.0) for done, plan_s in plans]
    planned = sum(began < done <= ended for done, _ in plans)
    return Rates((len(times) - 1) / took_s, planned / took_s, sum(working_s) / took_s)


class _Camera:
    """Show a core frame after frame, from whichever thread asks."""

    def __init__(self, policy: Policy) -> None:
        self._views = [(view.name, np.zeros((view.height, view.width, 3), np.uint8)) for view in policy.info.views]
        self._sequence = 0
        self._lock = threading.Lock()

    def show(self, core: Core, deliver: Deliver) -> None:
        with self._lock:
            self._sequence += 1
            now_ns = monotonic_ns()
            views = tuple(View.from_pixels(name, pixels, now_ns) for name, pixels in self._views)
            observation = Observation(self._sequence, views, INSTRUCTION, sent_ns=now_ns, wants_plans=True)
            core.submit(b"client", observation, now_ns, deliver)
