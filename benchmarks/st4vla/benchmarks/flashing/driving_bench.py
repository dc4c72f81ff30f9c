"""The whole way of a flash, from an empty device to an arm that is driven while the next policy is flashed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from st4vla.benchmarks.flashing.driving import drive_through_flashes
from st4vla.benchmarks.flashing.ground import Ground
from st4vla.benchmarks.flashing.powered_device import QUICK
from st4vla.benchmarks.flashing.stand_in import StandIn
from st4vla.runtime.flashing.config import BuildConfig

#: A share of the chunks that are late while a policy is built, beyond the share that is late without.
MAX_LATE_SHARE = 0.02


def run(folder: Path, bundle: Path, flashes: int) -> tuple[dict[str, Any], list[str]]:
    """Flash a bundle, serve it, drive the arm from it, and flash other policies meanwhile.

    Args:
        folder: For everything that is made.
        bundle: The first policy; the others are derived from it.
        flashes: How many others.

    Returns:
        The figures, and what falls short, in words.
    """
    ground = Ground(folder / "ground", bundle)
    # As a device has it: a build gets what the policy that serves leaves of the processors.
    config = replace(QUICK, build=BuildConfig())
    with StandIn("stand-in", folder / "device", ground.lab.trust, config=config) as device:
        device.boot()
        device.await_supervisor()
        first = ground.flash(device, ground.old.bundle.folder)
        bundles = []
        for number in range(flashes):
            # Over and over the same two, each time as a newer release.
            source = ground.old if number % 2 else ground.new
            bundles.append(ground.release(source, folder / f"release{number}", counter=100 + number))
        figures = {"first_flash": first.state, "first_flash_s": first.seconds} | drive_through_flashes(
            device, bundles, ground.lab.trust
        )
    return figures, missed(figures, flashes)


def missed(figures: dict[str, Any], flashes: int) -> list[str]:
    """Return what falls short, in words."""
    more = figures["building"]["late_share"] - figures["undisturbed"]["late_share"]
    reconnects = figures["connections"] - 1
    bounds = (
        (figures["first_flash"] == "flashed", f"the first flash: {figures['first_flash']}"),
        (figures["flashed"] == ["flashed"] * flashes, f"the others: {figures['flashed']} {figures['messages']}"),
        (
            more <= MAX_LATE_SHARE,
            f"{more:.2%} more chunks late while something is built, allowed are {MAX_LATE_SHARE:.0%}",
        ),
        (reconnects <= flashes, f"{reconnects} reconnects for {flashes} switches"),
        (figures["refused"] == 0, f"{figures['refused']} observations refused"),
    )
    return [text for holds, text in bounds if not holds]
