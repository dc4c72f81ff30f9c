"""How soon System 2 plans anew after a thing has jumped, and how often although none has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from st4vla.benchmarks.change.scenes import FIRST_TICK, shots
from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.world import Tabletop
from st4vla.benchmarks.virtual_runtime import VirtualRuntime
from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.contracts.messages import Observation, View
from st4vla.runtime.cell_motion import Cells
from st4vla.runtime.change import ChangeConfig
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Policy, Views
from st4vla.runtime.scheduler import SchedulingConfig

INSTRUCTION = "pick up the red cube"
TICK_NS = 50 * NS_PER_MS
ACT_NS, PLAN_NS = 20 * NS_PER_MS, 200 * NS_PER_MS
#: The period before whose end a jump must be noticed, and one that never ends.
PERIOD_TICKS, NEVER_TICKS = 20, 1_000_000
#: Frames within which it is noticed at once.
AT_ONCE = 3
#: Share of jumps that must be noticed within the period, and most alarms a minute of motion without one.
NOTICED_BAR, FALSE_BAR = 0.8, 2.0
HEADER = ("20 frames a second, arm in motion", "measured", "bar")


@dataclass(frozen=True)
class Watched:
    """What a policy's System 1 saw of an episode: cells of each tick, and the ticks at which a thing had jumped."""

    cells: Sequence[Cells]
    jumps: tuple[int, ...]


class Noticing(msgspec.Struct, frozen=True):
    """What was measured.

    Attributes:
        noise: Deviation of the cameras' noise, in levels of 255.
        minutes: Of motion, after the first ten seconds of each episode.
        delays_ticks: For each jump, frames until it counted as a change; None where it did not within the period.
        false_alarms: Changes with no jump in the period before them.
        early_alarms: The same in the first ten seconds of episodes, in which what is usual is learnt.
        knowing_ticks: For each jump, frames until System 2 took one that shows it, planning on period and on change.
        period_ticks: The same on period alone.
    """

    noise: float
    minutes: float
    delays_ticks: tuple[int | None, ...]
    false_alarms: int
    early_alarms: int
    knowing_ticks: tuple[int, ...]
    period_ticks: tuple[int, ...]

    @property
    def noticed(self) -> float:
        """Share of jumps that counted as a change within the period."""
        return sum(each is not None for each in self.delays_ticks) / len(self.delays_ticks)

    @property
    def false_a_minute(self) -> float:
        """Alarms without a jump, a minute."""
        return self.false_alarms / self.minutes

    def rows(self) -> list[tuple[object, ...]]:
        """Return a table's rows under `HEADER`."""
        at_once = sum(each is not None and each <= AT_ONCE for each in self.delays_ticks)
        count = len(self.delays_ticks)
        rows: list[tuple[object, ...]] = [
            ("camera noise, levels of 255", f"{self.noise:g}", ""),
            (f"jumps of 10 cm, noticed within {AT_ONCE} frames", f"{at_once} of {count}", ""),
            (
                f"noticed within {PERIOD_TICKS} frames",
                f"{round(self.noticed * count)} of {count}",
                f"{NOTICED_BAR:.0%}",
            ),
            (f"false alarms a minute, in {self.minutes:.1f}", f"{self.false_a_minute:.2f}", f"{FALSE_BAR:g}"),
            ("alarms in the first 10 s of all episodes", self.early_alarms, ""),
        ]
        for name, ticks in (("on change and period", self.knowing_ticks), ("on period alone", self.period_ticks)):
            p50, p95 = np.percentile(ticks, (50, 95)) * TICK_NS / NS_PER_MS
            rows.append((f"from a jump to the frame planned on, {name}", f"{p50:.0f} ms, p95 {p95:.0f} ms", ""))
        return rows

    def missed(self) -> list[str]:
        """Return what falls short of its bar, in words."""
        missed = []
        if self.noticed < NOTICED_BAR:
            missed.append(f"{self.noticed:.0%} of the jumps were noticed, {NOTICED_BAR:.0%} was wanted")
        if self.false_a_minute > FALSE_BAR:
            missed.append(f"{self.false_a_minute:.2f} false alarms a minute, at most {FALSE_BAR:g} was wanted")
        return missed


def watch(policy: Policy, seeds: Iterable[int], *, ticks: int, noise: float) -> list[Watched]:
    """Let a policy's System 1 see episodes of scripted rounds; things jump in every other one.

    Args:
        policy: Whose cells.
        seeds: One for each episode; with even ones, things jump.
        ticks: Length of an episode.
        noise: Deviation of the cameras' noise, in levels of 255.

    Raises:
        ValueError: The policy's bridge gives no cells.
        EngineError: An engine failed.
    """
    watched = []
    with Tabletop(control_period_ns=TICK_NS) as world, Cameras(world) as cameras:
        for seed in seeds:
            rng, plan, cells, jumps = np.random.default_rng(seed), None, list[Cells](), list[int]()
            for tick, shot in enumerate(shots(world, cameras, seed, ticks=ticks, jumps=seed % 2 == 0)):
                views = _noisy(np.stack([shot.pictures[view.name] for view in policy.info.views]), noise, rng)
                plan = plan or policy.plan(views, INSTRUCTION)
                acted = policy.act(views, plan, seed=tick)
                if acted.cells is None:
                    msg = f"the bridge of {policy.info.name!r} gives no cells; export it again"
                    raise ValueError(msg)
                cells.append(acted.cells.copy())
                if shot.jumped is not None:
                    jumps.append(tick)
            watched.append(Watched(cells, tuple(jumps)))
    return watched


def coarser(episode: Watched, view_count: int, side: int) -> Watched:
    """Return an episode whose views are averaged to so many cells a side."""
    averaged = []
    for cells in episode.cells:
        fine = math.isqrt(len(cells) // view_count)
        squares = cells.reshape(view_count, side, fine // side, side, fine // side, -1)
        averaged.append(squares.mean(axis=(2, 4)).reshape(view_count * side * side, -1))
    return Watched(averaged, episode.jumps)


def notice(episodes: Sequence[Watched], config: ChangeConfig, noise: float, *, act_ns: int = ACT_NS) -> Noticing:
    """Let the scheduler work on what was seen, on a virtual clock.

    Args:
        episodes: What was seen.
        config: When a scene counts as changed.
        noise: Of the cameras.
        act_ns: How long a chunk takes, which is how often System 1 looks.
    """
    delays, knowing, on_period = list[int | None](), list[int](), list[int]()
    false, early, ticks = 0, 0, 0
    for episode in episodes:
        # A plan that the period asks for would be first, sometimes: here only the first one and changes ask for any.
        changes = [at_ns // TICK_NS for at_ns in _replay(episode, config, NEVER_TICKS, act_ns).changes]
        after = [[tick for tick in changes if jump <= tick < jump + PERIOD_TICKS] for jump in episode.jumps]
        delays += [found[0] - jump if found else None for jump, found in zip(episode.jumps, after, strict=True)]
        explained = {tick for found in after for tick in found}
        false += sum(tick >= FIRST_TICK and tick not in explained for tick in changes)
        early += sum(tick < FIRST_TICK for tick in changes)
        ticks += len(episode.cells) - FIRST_TICK
        for config_here, found_here in ((config, knowing), (ChangeConfig(enabled=False), on_period)):
            plans = [tick for tick, _ in _replay(episode, config_here, PERIOD_TICKS, act_ns).plans]
            known = ([tick - jump for tick in plans if tick >= jump] for jump in episode.jumps)
            found_here += [ahead[0] for ahead in known if ahead]
    minutes = ticks * TICK_NS / NS_PER_S / 60
    return Noticing(noise, minutes, tuple(delays), false, early, tuple(knowing), tuple(on_period))


class _Seer(NullPolicy):
    """A policy whose System 1 has seen everything already; seeds are ticks."""

    def __init__(self, cells: Sequence[Cells]) -> None:
        super().__init__(image_size=2)
        self._cells = cells

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        """Return the cells of a tick."""
        return Acted(super().act(views, plan, seed, splice).actions, self._cells[seed])


def _replay(episode: Watched, config: ChangeConfig, period_ticks: int, act_ns: int) -> VirtualRuntime:
    policy = _Seer(episode.cells)
    scheduling = SchedulingConfig(plan_period_ns=period_ticks * TICK_NS, change=config)
    runtime = VirtualRuntime(policy, scheduling, act_ns=act_ns, plan_ns=PLAN_NS)
    pixels = np.zeros((2, 2, 3), np.uint8)
    for tick in range(len(episode.cells)):
        now_ns = tick * TICK_NS
        views = tuple(View.from_pixels(view.name, pixels, now_ns) for view in policy.info.views)
        runtime.show(Observation(tick, views, INSTRUCTION, seed=tick, sent_ns=now_ns), now_ns + TICK_NS)
    return runtime


def _noisy(views: Views, noise: float, rng: np.random.Generator) -> Views:
    if not noise:
        return views
    noisy: npt.NDArray[np.float32] = views + noise * rng.standard_normal(views.shape, np.float32)
    clipped: Views = np.clip(noisy.round(), 0, 255).astype(np.uint8)
    return clipped
