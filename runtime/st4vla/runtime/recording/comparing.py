"""Where a replay gave something else than what was recorded, in words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from st4vla.runtime.recording.records import ActedRecord, ActionChunk, Call

#: The order of calls is the recording's, and how long an engine took is no outcome.
IGNORED = frozenset({"number", "job", "inference_ns"})
#: On another device these have other last bits, which a digest cannot compare.
IGNORED_ELSEWHERE = frozenset({"planned.tensors.digest", "outcome.prefix"})
NAMES = {
    "acted.actions": "the normalised actions that System 1 sampled",
    "acted.cells": "the visual cells of System 1",
    "outcome.actions": "the normalised actions that were handed out",
    "actions": "the un-normalised actions",
    "planned.tensors.digest": "the digest of a tensor of the plan",
    "outcome.prefix": "the digest of the actions that it is held to",
}


@dataclass(frozen=True)
class Comparer:
    """Compare what was recorded with what a replay gave.

    Attributes:
        action_dim: A.
        tolerance: Largest difference of a normalised action that is none, and of other numbers as a share of the
            largest of their kind; None: not a bit.
    """

    action_dim: int
    tolerance: float | None = None

    def calls(self, recorded: Call, replayed: Call) -> str | None:
        """Return the first difference of two calls, or None."""
        return self._first(recorded, replayed, "")

    def acted(self, recorded: ActedRecord, replayed: ActedRecord) -> str | None:
        """Return the first difference of what System 1 made, or None."""
        return self._first(recorded, replayed, "acted.")

    def chunks(self, recorded: ActionChunk, replayed: ActionChunk) -> str | None:
        """Return the first difference of two chunks as they went out, or None."""
        return self._first(recorded, replayed, "")

    @property
    def _ignored(self) -> Collection[str]:
        return IGNORED if self.tolerance is None else IGNORED | IGNORED_ELSEWHERE

    def _first(self, recorded: Any, replayed: Any, path: str) -> str | None:
        for field in fields(recorded):
            where = path + field.name
            if where not in self._ignored:
                found = self._value(getattr(recorded, field.name), getattr(replayed, field.name), where)
                if found is not None:
                    return found
        return None

    def _value(self, recorded: Any, replayed: Any, where: str) -> str | None:
        if is_dataclass(recorded) and is_dataclass(replayed):
            return self._first(recorded, replayed, f"{where}.")
        if isinstance(recorded, tuple) and len(recorded) == len(replayed):
            found = (self._value(one, other, where) for one, other in zip(recorded, replayed, strict=True))
            return next((difference for difference in found if difference is not None), None)
        if where.endswith(("actions", "cells")):
            return self._arrays(_floats(recorded), _floats(replayed), where)
        if recorded == replayed:
            return None
        return f"{NAMES.get(where, where)} is {_shown(recorded)} in the recording and {_shown(replayed)} in the replay"

    def _arrays(self, recorded: npt.NDArray[np.float32], replayed: npt.NDArray[np.float32], where: str) -> str | None:
        name = NAMES[where]
        if recorded.size != replayed.size:
            return f"{name} are {recorded.size} numbers in the recording and {replayed.size} in the replay"
        if recorded.tobytes() == replayed.tobytes():
            return None
        width = 1 if where.endswith("cells") else self.action_dim
        one, other = recorded.reshape(-1, width), replayed.reshape(-1, width)
        apart = np.abs(one.astype(np.float64) - other)
        if self.tolerance is not None and (apart <= self.tolerance * self._scale(one, where)).all():
            return None
        row, column = np.unravel_index(np.argmax(apart), apart.shape)
        place = f"number {row}" if width == 1 else f"action {row}, dimension {column}"
        return (
            f"{name} differ in {np.count_nonzero(apart)} of {apart.size} numbers, most in {place}: "
            f"{one[row, column]:.9g} in the recording and {other[row, column]:.9g} in the replay"
        )

    def _scale(self, recorded: npt.NDArray[np.float32], where: str) -> npt.NDArray[np.float64]:
        """Return for each column of numbers what a tolerance of 1 stands for."""
        if where in {"acted.actions", "outcome.actions"}:
            return np.ones(recorded.shape[1])
        scale: npt.NDArray[np.float64] = np.abs(recorded.astype(np.float64)).max(0)
        return scale


def largest_difference(recorded: bytes, replayed: bytes) -> float:
    """Return by how much two arrays of float32 differ at most; infinity for arrays of other sizes."""
    one, other = _floats(recorded), _floats(replayed)
    if one.size != other.size:
        return float("inf")
    return float(np.abs(one.astype(np.float64) - other).max(initial=0.0))


def _floats(value: bytes | npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.frombuffer(value, "<f4") if isinstance(value, bytes) else value


def _shown(value: Any) -> str:
    if value is None or value in ((), b"", ""):
        return "nothing"
    return value.hex() if isinstance(value, bytes) else repr(value)
