"""Many power cuts on several devices at once, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from st4vla.benchmarks.flashing.power_cuts import Cut, CutDevice, cut_at_changes, cut_at_random, cut_at_steps
from st4vla.benchmarks.flashing.powered_device import QUICK
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.telemetry import percentiles


def run(
    folder: Path,
    bundle: Path,
    *,
    cuts: int,
    changes: bool,
    parallel: int,
    seed: int,
    report: Callable[[Cut], None] = lambda _: None,
) -> tuple[dict[str, Any], list[str]]:
    """Cut the power of several devices at every step, at random instants, and before changes to files.

    A device that does not come up with a whole policy, or does not take the next flash, ends the run with an error.

    Args:
        folder: For the devices.
        bundle: From which the policies are derived.
        cuts: At random instants, over all devices.
        changes: Whether to cut before each change to a file, too.
        parallel: Devices at once.
        seed: Of the instants.
        report: Called after each cut, by several threads.

    Returns:
        The figures, and what falls short, in words: nothing.
    """

    def work(number: int) -> list[Cut]:
        device = CutDevice(folder / f"device{number}", Bundle(bundle), QUICK, seed=seed * parallel + number)
        with device.device:
            device.begin()
            todo: list[Iterable[Cut]] = [cut_at_steps(device, (number, parallel))]
            if changes:
                todo.append(cut_at_changes(device, (number, parallel)))
            todo.append(cut_at_random(device, len(range(number, cuts, parallel))))
            found = []
            for cut in chain.from_iterable(todo):
                report(cut)
                found.append(cut)
            return found

    with ThreadPoolExecutor(parallel) as threads:
        found = list(chain.from_iterable(threads.map(work, range(parallel))))
    return figures(found), []


def figures(found: Sequence[Cut]) -> dict[str, Any]:
    """Return cuts in numbers."""
    return {
        "cuts": len(found),
        "by_step": dict(Counter(cut.step or "before" for cut in found)),
        "came_up_with_the_new_policy": sum(cut.new for cut in found),
        "kept_the_new_policy": sum(cut.kept_new for cut in found),
        "back_s": percentiles([cut.back_s for cut in found], (50, 95, 100)),
    }
