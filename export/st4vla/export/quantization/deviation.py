"""What smaller numbers do to a policy's actions, beside the float32 policy on the same frames and noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from typing_extensions import Self

from st4vla.contracts.action import ActionNormalizer, ActionSpec
from st4vla.contracts.manifests import GRAPH_NAMES
from st4vla.export.quantization.emulation import GraphSession
from st4vla.export.quantization.frames import Frame, inputs_of, sampler_feeds
from st4vla.export.quantization.joints import joint_error_rad
from st4vla.runtime.engines.engine import Array


@dataclass(frozen=True)
class Deviation:
    """How far actions are from those of float32, at the worst of all frames.

    Attributes:
        cosine: Of a whole chunk, normalised, after the last step.
        trajectory_cosine: The smallest one of all steps' chunks.
        joint_error_rad: See `joint_error_rad`.
    """

    cosine: float
    trajectory_cosine: float
    joint_error_rad: float

    @property
    def distance(self) -> float:
        """One less the cosine."""
        return 1 - self.cosine


@dataclass(frozen=True)
class _Answer:
    plan: Mapping[str, Array]
    condition: Array
    chunks: list[Array]


class ActionJudge:
    """Compares graphs with the float32 ones, used as a context manager.

    Args:
        paths: The float32 graphs by name.
        frames: What is asked.
        spec: What the actions are.
        normalizer: Between the policy's units and the robot's.
        num_steps: Of the sampler.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        frames: Sequence[Frame],
        spec: ActionSpec,
        normalizer: ActionNormalizer,
        num_steps: int,
    ) -> None:
        self._cleanup = ExitStack()
        self._sessions = {name: self._cleanup.enter_context(GraphSession(paths[name])) for name in GRAPH_NAMES}
        self._spec, self._normalizer, self._num_steps = spec, normalizer, num_steps
        self.frames = list(frames)
        self._answers = [self._answer(frame, self._sessions) for frame in self.frames]

    def deviation(self, changed: Mapping[str, Path], count: int | None = None, *, exactly: bool = True) -> Deviation:
        """Return what some changed graphs do to the actions.

        Args:
            changed: Graphs by name that take the place of the float32 ones.
            count: Judge by the first so many frames; None for all.
            exactly: See `GraphSession`.
        """
        with ExitStack() as stack:
            sessions = dict(self._sessions)
            for name, path in changed.items():
                sessions[name] = stack.enter_context(GraphSession(path, exactly=exactly))
            pairs = list(zip(self.frames, self._answers, strict=True))[:count]
            found = [self._compare(known, self._answer(frame, sessions, known)) for frame, known in pairs]
        # numpy's own extremes let NaN through, whichever frame it comes from.
        return Deviation(
            float(np.min([each.cosine for each in found])),
            float(np.min([each.trajectory_cosine for each in found])),
            float(np.max([each.joint_error_rad for each in found])),
        )

    def feeds(self, graph: str) -> list[dict[str, Array]]:
        """Return all that a float32 graph was given for all frames."""
        if graph == "planner":
            return [dict(inputs_of(frame)) for frame in self.frames]
        pairs = list(zip(self.frames, self._answers, strict=True))
        if graph == "bridge":
            return [{"views": frame.views, **answer.plan} for frame, answer in pairs]
        steps = []
        for frame, answer in pairs:
            feeds = sampler_feeds(answer.condition, frame.noise, self._num_steps)
            steps += [
                each | {"chunk": chunk} for each, chunk in zip(feeds, [frame.noise, *answer.chunks], strict=False)
            ]
        return steps

    def actions(self, index: int) -> Array:
        """Return the float32 policy's answer to a frame, normalised [1, T, A]."""
        return self._answers[index].chunks[-1]

    def _answer(self, frame: Frame, sessions: Mapping[str, GraphSession], known: _Answer | None = None) -> _Answer:
        """Return a policy's answer; what unchanged graphs said before is `known`."""
        plan, condition = (known.plan, known.condition) if known else (None, None)
        if plan is None or sessions["planner"] is not self._sessions["planner"]:
            plan, condition = sessions["planner"].run(inputs_of(frame)), None
        if condition is None or sessions["bridge"] is not self._sessions["bridge"]:
            condition = sessions["bridge"].run({"views": frame.views, **plan})["condition"]
        chunks = [frame.noise]
        for feeds in sampler_feeds(condition, frame.noise, self._num_steps):
            chunks.append(sessions["sampler"].run(feeds | {"chunk": chunks[-1]})["next_chunk"])
        return _Answer(plan, condition, chunks[1:])

    def _compare(self, expected: _Answer, actual: _Answer) -> Deviation:
        cosines = [chunk_cosine(ours, theirs) for ours, theirs in zip(expected.chunks, actual.chunks, strict=True)]
        ours, theirs = (self._normalizer.unnormalize(answer.chunks[-1][0]) for answer in (expected, actual))
        return Deviation(cosines[-1], min(cosines), joint_error_rad(self._spec, ours, theirs))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()


def chunk_cosine(expected: Array, actual: Array) -> float:
    """Return the cosine of two chunks; -1 where one is not finite."""
    ours, theirs = expected.astype(np.float64).ravel(), actual.astype(np.float64).ravel()
    if not np.isfinite(theirs).all():
        return -1.0
    norms = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    return float(ours @ theirs) / norms if norms else float(not (ours - theirs).any())
