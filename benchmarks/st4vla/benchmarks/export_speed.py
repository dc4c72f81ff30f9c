"""Engines on this CPU against eager PyTorch with the same checkpoint, in turns in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch

from st4vla.contracts.manifests import GRAPH_NAMES, Bundle, CpuSettings
from st4vla.export.eager import EagerPolicy
from st4vla.export.quantization.deviation import chunk_cosine
from st4vla.export.quantization.frames import Frame, sampler_feeds
from st4vla.runtime.engines.engine import Array, Engine
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.sampler import Sampler

#: Between turns: threads that wait for work by spinning have given up by then.
PAUSE_S = 0.3
#: What each ratio is held to.
BARS = {
    ("system1", "float32"): 1.6,
    ("system1", "quantised"): 3.5,
    ("planner", "float32"): 1.2,
    ("planner", "quantised"): 3.0,
}
MIN_COSINE = 0.999


class Cost(msgspec.Struct, frozen=True):
    """Times of one part of a policy, in milliseconds, one a turn.

    Attributes:
        part: ``system1``, that is bridge and sampler, or ``planner``.
        side: ``eager``, ``float32`` or ``quantised``.
        times_ms: Of each turn the median.
    """

    part: str
    side: str
    times_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """The median turn."""
        return statistics.median(self.times_ms)


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        costs: Times.
        cosines: Side to the smallest cosine of a chunk with eager PyTorch's, over all steps and frames.
    """

    costs: tuple[Cost, ...]
    cosines: Mapping[str, float]

    def cost(self, part: str, side: str) -> Cost:
        """Return the times of one part on one side."""
        return next(cost for cost in self.costs if (cost.part, cost.side) == (part, side))

    def ratio(self, part: str, side: str) -> float:
        """Return how many times as fast as eager PyTorch a side is: the median of the ratios of each turn."""
        ours, eager = self.cost(part, side), self.cost(part, "eager")
        return statistics.median(theirs / mine for theirs, mine in zip(eager.times_ms, ours.times_ms, strict=True))

    def missed(self) -> list[str]:
        """Return what falls short of its bar, in words."""
        found = [
            f"{part}, {side}: {self.ratio(part, side):.2f} times eager PyTorch, wanted {bar:g}"
            for (part, side), bar in BARS.items()
            if self.ratio(part, side) < bar
        ]
        return found + [
            f"{side}: cosine {cosine:.6f}, wanted {MIN_COSINE:g}"
            for side, cosine in self.cosines.items()
            if cosine < MIN_COSINE
        ]


class EngineSide:
    """The engines of a bundle, used in an `ExitStack`.

    Args:
        bundle: The bundle.
        folder: Where its engines go.
        threads: CPU threads of each.
        stack: Closes them.
    """

    def __init__(self, bundle: Bundle, folder: Path, threads: int, stack: ExitStack) -> None:
        backend, settings = OnnxRuntimeBackend(), CpuSettings(threads, spinning=threads > 1)
        self._engines: dict[str, Engine] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for name in GRAPH_NAMES:
            tensors, compiled = bundle.tensors(name), folder / f"{name}.engine"
            backend.compile(bundle.path(bundle.manifest.graphs[name].file), compiled, tensors, cache=folder)
            self._engines[name] = stack.enter_context(backend.load(compiled, tensors, cpu=settings))
        self._num_steps = bundle.manifest.sampler.num_steps
        self._sampler = Sampler(self._engines["sampler"], self._num_steps)

    def plan(self, frame: Frame) -> dict[str, Array]:
        """Run System 2."""
        return self._engines["planner"].run({"views": frame.views, "token_ids": frame.token_ids})

    def act(self, plan: Mapping[str, Array], frame: Frame) -> Array:
        """Run System 1; return the actions [1, T, A]."""
        shape = frame.noise.shape
        feeds = {
            "noise": frame.noise,
            "prefix": np.zeros(shape, np.float32),
            "prefix_weights": np.zeros(shape[:2], np.float32),
        }
        return self._sampler.sample({"condition": self._condition(plan, frame), **feeds})

    def trajectory(self, frame: Frame) -> list[Array]:
        """Return the chunk after each step of both systems together."""
        condition, chunks = self._condition(self.plan(frame), frame), [frame.noise]
        for feeds in sampler_feeds(condition, frame.noise, self._num_steps):
            chunks.append(self._engines["sampler"].run(feeds | {"chunk": chunks[-1]})["next_chunk"])
        return chunks[1:]

    def _condition(self, plan: Mapping[str, Array], frame: Frame) -> Array:
        return self._engines["bridge"].run({"views": frame.views, **plan})["condition"]


def compare(
    eager: EagerPolicy,
    bundles: Mapping[str, Bundle],
    frames: Sequence[Frame],
    work: Path,
    *,
    turns: int,
    threads: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Time both systems of all sides in turns.

    Args:
        eager: The checkpoint in PyTorch.
        bundles: Side to its bundle.
        frames: What is asked; each turn takes the next one.
        work: Folder for engines.
        turns: How many; each takes the median of three runs a side.
        threads: CPU threads of every side.
        progress: Called with how many turns are done, and of how many.
    """
    torch.set_num_threads(threads)
    with ExitStack() as stack:
        sides = {name: EngineSide(bundle, work / name, threads, stack) for name, bundle in bundles.items()}
        cosines = {name: _cosine(eager, side, frames) for name, side in sides.items()}
        times: dict[tuple[str, str], list[float]] = {}
        for turn in range(turns):
            progress(turn, turns)
            frame = frames[turn % len(frames)]
            plan = eager.plan(frame.views, frame.token_ids)
            calls: dict[tuple[str, str], Callable[[], object]] = {
                ("planner", "eager"): partial(eager.plan, frame.views, frame.token_ids),
                ("system1", "eager"): partial(eager.act, plan, frame.views, frame.noise),
            }
            for name, side in sides.items():
                calls["planner", name] = partial(side.plan, frame)
                calls["system1", name] = partial(side.act, side.plan(frame), frame)
            for key, call in calls.items():
                time.sleep(PAUSE_S)
                times.setdefault(key, []).append(_median_ms(call))
    return Comparison(tuple(Cost(*key, tuple(each)) for key, each in times.items()), cosines)


def _cosine(eager: EagerPolicy, side: EngineSide, frames: Sequence[Frame]) -> float:
    """Return the smallest cosine of chunks over all steps and frames."""
    smallest = 1.0
    for frame in frames:
        expected = eager.act(eager.plan(frame.views, frame.token_ids), frame.views, frame.noise)
        pairs = zip(expected, side.trajectory(frame), strict=True)
        smallest = min(smallest, *(chunk_cosine(theirs, ours) for theirs, ours in pairs))
    return smallest


def _median_ms(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)
