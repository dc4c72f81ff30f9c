"""Timing in turns, so that what the machine does besides slows all sides alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec


class Cost(msgspec.Struct, frozen=True):
    """What one turn took.

    Attributes:
        seconds: By the clock.
        cpu_seconds: Of all threads of this process; a busy machine adds little to it.
    """

    seconds: float
    cpu_seconds: float


def in_turns(calls: Mapping[str, Callable[[], object]], turns: int) -> dict[str, tuple[Cost, ...]]:
    """Return what each call took, turn by turn; who comes first alternates."""
    costs: dict[str, list[Cost]] = {name: [] for name in calls}
    for turn in range(turns):
        for name in list(calls)[:: -1 if turn % 2 else 1]:
            began = time.perf_counter(), time.process_time()
            calls[name]()
            costs[name].append(Cost(time.perf_counter() - began[0], time.process_time() - began[1]))
    return {name: tuple(each) for name, each in costs.items()}
