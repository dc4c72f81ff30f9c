"""System 1's rate beside a System 2 that never rests, against its rate alone: with real engines on this CPU."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from st4vla.contracts.clock import NS_PER_S, monotonic_ns
from st4vla.contracts.errors import EngineError
from st4vla.contracts.manifests import Bundle
from st4vla.contracts.messages import ActionChunk, ErrorReply, Message, Observation, View
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.change import ChangeConfig
from st4vla.runtime.compiling import compile_bundle
from st4vla.runtime.core import Core
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.scheduler import SchedulingConfig
from st4vla.runtime.server import SWITCH_INTERVAL_S

INSTRUCTION = "pick up the red cube"
#: Periods of plans: never again, and as soon as the last one is made.
NEVER_NS, ALWAYS_NS = 10_000 * NS_PER_S, 1
#: Share of its rate that System 1 must keep.
BAR = 0.8
HEADER = ("System 1", "Hz", "share of its rate alone", "bar")


class Contention(msgspec.Struct, frozen=True):
    """Rates of System 1, in chunks a second.

    Attributes:
        alone_hz: With one core, alone, one rate a turn.
        beside_hz: With one core, beside a System 2 that has the other and plans without a pause.
        both_cores_hz: Alone, with both cores.
        plans_hz: How often System 2 planned meanwhile.
    """

    alone_hz: tuple[float, ...]
    beside_hz: tuple[float, ...]
    both_cores_hz: tuple[float, ...]
    plans_hz: float

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
                f"beside System 2 ({self.plans_hz:.1f} plans a second)",
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
        if self.share >= BAR:
            return []
        return [f"System 1 keeps {self.share:.0%} of its rate beside System 2, {BAR:.0%} was wanted"]


def measure(bundle: Bundle, work: Path, *, turns: int, seconds: float) -> Contention:
    """Run System 1 alone and beside System 2 in turns, each with one CPU thread, through the runtime's own scheduler.

    Args:
        bundle: Whose engines run.
        work: Folder for them.
        turns: How many.
        seconds: Length of each measurement.
    """
    rates: Mapping[str, list[float]] = {"alone": [], "beside": [], "both": []}
    plans = 0.0
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with (
        opened(bundle, work, system1_threads=1, system2_threads=1) as policy,
        opened(bundle, work, system1_threads=2, system2_threads=1) as wide,
    ):
        for each in (policy, wide):
            each.warm_up()
        for _ in range(turns):
            rates["alone"].append(_rates_hz(policy, seconds, NEVER_NS)[0])
            beside_hz, plans_hz = _rates_hz(policy, seconds, ALWAYS_NS)
            rates["beside"].append(beside_hz)
            rates["both"].append(_rates_hz(wide, seconds, NEVER_NS)[0])
            plans += plans_hz / turns
    return Contention(tuple(rates["alone"]), tuple(rates["beside"]), tuple(rates["both"]), plans)


def opened(bundle: Bundle, work: Path, **threads: int) -> BundlePolicy:
    """Return a bundle's policy on engines in a folder; those that lie there already are not made again."""
    backend = OnnxRuntimeBackend()
    engines = compile_bundle(bundle, backend, this_device().fingerprint(backend), work)
    return BundlePolicy(bundle, engines, work, backend, **threads)


def _rates_hz(policy: BundlePolicy, seconds: float, plan_period_ns: int) -> tuple[float, float]:
    """Return how many chunks and plans a second a client gets that always has a newer frame.

    From the first chunk on to the first after the time is over: whole chunks in the time that they took.

    Raises:
        EngineError: An engine failed.
    """
    config = SchedulingConfig(plan_period_ns=plan_period_ns, change=ChangeConfig(enabled=False))
    core, sequence, times = Core(policy, config), itertools.count(1), list[float]()
    finished = threading.Event()

    failures: list[str] = []

    def ask(message: Message | None = None) -> None:
        if isinstance(message, ErrorReply):
            failures.append(message.message)
            finished.set()
            return
        if isinstance(message, ActionChunk):
            times.append(time.perf_counter())
            if times[-1] - times[0] >= seconds:
                finished.set()
                return
        observation = _observation(policy, next(sequence))
        core.submit(b"client", observation, observation.sent_ns, ask)

    core.start()
    try:
        ask()
        finished.wait()
        plans = core.counts["plans"]
    finally:
        core.stop()
    if failures:
        raise EngineError(failures[0])
    took_s = times[-1] - times[0]
    # The first plan came before the first chunk.
    return (len(times) - 1) / took_s, (plans - 1) / took_s


def _observation(policy: BundlePolicy, sequence: int) -> Observation:
    now_ns = monotonic_ns()
    views = tuple(
        View.from_pixels(view.name, np.zeros((view.height, view.width, 3), np.uint8), now_ns)
        for view in policy.info.views
    )
    return Observation(sequence, views, INSTRUCTION, sent_ns=now_ns)
