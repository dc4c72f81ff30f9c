"""A fleet's flashes beside rsync of the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from st4vla.benchmarks.flashing.fleet import flash_all, fleet, memory, rsync_all, serving
from st4vla.benchmarks.flashing.ground import Ground
from st4vla.contracts.release import Requirements
from st4vla.export.signing import Terms


def run(folder: Path, bundle: Path, count: int) -> tuple[dict[str, Any], list[str]]:
    """Flash many devices, a tenth of which cannot take the second bundle, and copy the same files with rsync.

    Args:
        folder: For everything that is made.
        bundle: The first policy; the second is derived from it, and so shares most of its files.
        count: How many devices.

    Returns:
        The figures, and what falls short, in words.
    """
    ground = Ground(folder / "ground", bundle)
    old, new = ground.old.bundle, ground.new.bundle
    with fleet(folder / "devices", ground.lab.trust, count) as devices:
        figures: dict[str, Any] = {"devices": count}
        figures["rsync_first"] = rsync_all(folder, devices, old.folder)
        figures["flash_first"] = flash_all(folder, devices, old.folder, ground.lab.trust)
        figures["memory_a_device"] = memory(devices)
        # What only nine tenths can take: the canaries are of every kind of machine, so one of them fails.
        picky = ground.release(ground.new, folder / "picky", Terms(Requirements(jetpacks=("36.4",))), counter=30)
        figures["flash_that_fails"] = flash_all(folder, devices, picky, ground.lab.trust)
        figures["serving_after_it"] = serving(devices, [old, new])
        figures["rsync_second"] = rsync_all(folder, devices, new.folder)
        figures["flash_second"] = flash_all(folder, devices, new.folder, ground.lab.trust)
        figures["serving_at_the_end"] = serving(devices, [old, new])
    return figures, missed(figures)


def missed(figures: dict[str, Any]) -> list[str]:
    """Return what falls short, in words."""
    count, failed = figures["devices"], figures["flash_that_fails"]
    begun = count - failed["states"].get("not started", 0)
    first, second = figures["flash_first"]["states"], figures["flash_second"]["states"]
    bounds = (
        (first == {"flashed": count}, f"the first flash: {first}"),
        (failed["status"] == 1 and bool(failed["said"]), "the flash that fails on a tenth was not stopped"),
        (begun <= 1 + count // 10 + 1, f"{begun} devices were begun with a bundle that its canaries refuse"),
        (second == {"flashed": count}, f"the second flash: {second}"),
        (figures["serving_at_the_end"] == {"new": count}, f"at the end: {figures['serving_at_the_end']}"),
        (
            figures["flash_second"]["sent_bytes"] <= 1.05 * figures["rsync_second"]["sent_bytes"],
            f"{figures['flash_second']['sent_bytes']} bytes sent, rsync {figures['rsync_second']['sent_bytes']}",
        ),
    )
    return [text for holds, text in bounds if not holds]
