"""How far the commanded motion jumps where one chunk follows another, against inside chunks: closed loop, tabletop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.episode import HOLD
from st4vla.benchmarks.tabletop.world import Tabletop
from st4vla.benchmarks.virtual_runtime import VirtualRuntime
from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.contracts.messages import Observation, View
from st4vla.contracts.staleness import Staleness
from st4vla.runtime.change import ChangeConfig
from st4vla.runtime.chunking import ChunkingConfig
from st4vla.runtime.player import Player
from st4vla.runtime.policy import Policy
from st4vla.runtime.scheduler import SchedulingConfig

Mode = Literal["real_time", "ensemble", "replace"]
MODES: tuple[Mode, ...] = get_args(Mode)
#: How long a chunk and a plan take: three to four actions of a chunk are executed before the next one comes.
ACT_NS, PLAN_NS = 140 * NS_PER_MS, 300 * NS_PER_MS
#: What real-time chunking is held to: its 99th percentile at splices against the one inside its chunks, in velocity.
BAR = 1.5
HEADER = ("chunking", "of", "unit", "splices p50", "p99", "largest", "inside p50", "p99", "largest")
#: Dimensions of an action that are a motion, by name of the motion and its unit.
MOTIONS = {"translation": (slice(0, 3), "m"), "rotation": (slice(3, 6), "rad")}

Actions = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Executed:
    """What an arm executed: actions [N, A] in the robot's units, and the chunk that each is from."""

    actions: Actions
    chunks: npt.NDArray[np.int64]


class Jumps(msgspec.Struct, frozen=True):
    """Sizes of jumps, the middle one, the 99th percentile and the largest, and how many there were."""

    p50: float
    p99: float
    largest: float
    count: int


class Splices(msgspec.Struct, frozen=True):
    """Jumps of one motion under one way of chunking.

    Attributes:
        mode: How chunks follow one another.
        motion: One of `MOTIONS`.
        quantity: ``velocity`` or ``acceleration``.
        unit: Of the jumps.
        at_splices: Where the actions are not all from one chunk.
        inside: Where they are.
    """

    mode: Mode
    motion: str
    quantity: str
    unit: str
    at_splices: Jumps
    inside: Jumps

    def row(self) -> tuple[object, ...]:
        """Return a table's row under `HEADER`."""
        sizes = (size for jumps in (self.at_splices, self.inside) for size in (jumps.p50, jumps.p99, jumps.largest))
        return (self.mode, f"{self.quantity} of {self.motion}", self.unit, *(f"{size:.3g}" for size in sizes))

    def missed(self) -> list[str]:
        """Return what falls short of its bar, in words."""
        if self.mode != "real_time" or self.quantity != "velocity" or self.at_splices.p99 <= BAR * self.inside.p99:
            return []
        times = self.at_splices.p99 / self.inside.p99
        return [f"velocity of {self.motion} jumps {times:.2f} times as far at splices, at most {BAR:g} was wanted"]


def measure(policy: Policy, seeds: Sequence[int], *, ticks: int, instruction: str) -> list[Splices]:
    """Drive the arm under each way of chunking, from the same scenes.

    Args:
        policy: Who drives.
        seeds: One for each episode.
        ticks: Length of an episode, in control periods.
        instruction: What the policy is told.

    Raises:
        EngineError: An engine failed.
    """
    found = []
    with Tabletop(control_period_ns=policy.info.action.period_ns) as world, Cameras(world) as cameras:
        for mode in MODES:
            runs = [drive(policy, world, cameras, mode, seed, ticks=ticks, instruction=instruction) for seed in seeds]
            found += [each for motion in MOTIONS for each in compare(mode, motion, runs, world.control_period_ns)]
    return found


def drive(
    policy: Policy, world: Tabletop, cameras: Cameras, mode: Mode, seed: int, *, ticks: int, instruction: str
) -> Executed:
    """Run one episode on a virtual clock and return what was executed, from the first chunk on."""
    world.reset(seed)
    config = SchedulingConfig(chunking=ChunkingConfig(mode=mode), change=ChangeConfig(enabled=False))
    runtime, player = VirtualRuntime(policy, config, act_ns=ACT_NS, plan_ns=PLAN_NS), Player(Staleness())
    actions, chunks = list[npt.NDArray[np.float32]](), list[int]()
    for tick in range(ticks):
        now_ns = tick * world.control_period_ns
        pictures = cameras.render()
        views = tuple(View.from_pixels(view.name, pictures[view.name], now_ns) for view in policy.info.views)
        observation = Observation(tick + 1, views, instruction, seed=seed + tick, sent_ns=now_ns)
        due = player.due(now_ns)
        if due.action is not None and due.chunk_id is not None:
            actions.append(due.action)
            chunks.append(due.chunk_id)
        world.step(HOLD if due.action is None else due.action)
        for chunk in runtime.show(observation, now_ns + world.control_period_ns):
            player.take(chunk)
    return Executed(np.array(actions, np.float64), np.array(chunks))


def compare(mode: Mode, motion: str, runs: Sequence[Executed], period_ns: int) -> list[Splices]:
    """Return the jumps of a motion in velocity and in acceleration: differences of commanded velocities."""
    dimensions, unit = MOTIONS[motion]
    found = []
    for order, quantity, suffix in ((1, "velocity", "/s"), (2, "acceleration", "/s2")):
        at_splices, inside = list[float](), list[float]()
        for run in runs:
            period_s = period_ns / NS_PER_S
            velocities = run.actions[:, dimensions] / period_s
            sizes = np.linalg.norm(np.diff(velocities, order, axis=0), axis=1) / period_s ** (order - 1)
            # Chunks' numbers grow, so the first and the last tell of those between.
            spliced = run.chunks[order:] != run.chunks[:-order]
            at_splices += sizes[spliced].tolist()
            inside += sizes[~spliced].tolist()
        found.append(Splices(mode, motion, quantity, unit + suffix, _jumps(at_splices), _jumps(inside)))
    return found


def _jumps(sizes: Sequence[float]) -> Jumps:
    p50, p99 = np.percentile(sizes, (50, 99))
    return Jumps(float(p50), float(p99), float(max(sizes)), len(sizes))
