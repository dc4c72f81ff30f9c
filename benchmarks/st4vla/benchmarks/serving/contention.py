"""System 1's rate beside a System 2 that never rests, against its rate alone: with real engines on this CPU."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from st4vla.contracts.manifests import Bundle
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.compiling import compile_bundle
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend

INSTRUCTION = "pick up the red cube"
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
    """Run System 1 alone and beside System 2 in turns, each with one CPU thread.

    Args:
        bundle: Whose engines run.
        work: Folder for them.
        turns: How many.
        seconds: Length of each measurement.
    """
    backend = OnnxRuntimeBackend()
    engines = compile_bundle(bundle, backend, this_device().fingerprint(backend), work)
    rates: Mapping[str, list[float]] = {"alone": [], "beside": [], "both": []}
    plans = 0
    with (
        BundlePolicy(bundle, engines, work, backend, system1_threads=1, system2_threads=1) as policy,
        BundlePolicy(bundle, engines, work, backend, system1_threads=2, system2_threads=1) as wide,
    ):
        for each in (policy, wide):
            each.warm_up()
        for _ in range(turns):
            rates["alone"].append(_rate_hz(policy, seconds))
            stop = threading.Event()
            count: list[int] = []
            planner = threading.Thread(target=_plan_on, args=(policy, stop, count))
            planner.start()
            rates["beside"].append(_rate_hz(policy, seconds))
            stop.set()
            planner.join()
            plans += len(count)
            rates["both"].append(_rate_hz(wide, seconds))
    return Contention(tuple(rates["alone"]), tuple(rates["beside"]), tuple(rates["both"]), plans / (turns * seconds))


def _rate_hz(policy: BundlePolicy, seconds: float) -> float:
    views = _views(policy)
    plan = policy.plan(views, INSTRUCTION)
    policy.act(views, plan, seed=0)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        policy.act(views, plan, seed=count)
        count += 1
    return count / (time.perf_counter() - began)


def _plan_on(policy: BundlePolicy, stop: threading.Event, count: list[int]) -> None:
    views = _views(policy)
    while not stop.is_set():
        policy.plan(views, INSTRUCTION)
        count.append(1)


def _views(policy: BundlePolicy) -> np.ndarray:
    first = policy.info.views[0]
    return np.zeros((len(policy.info.views), first.height, first.width, 3), np.uint8)
