"""From the tabletop's pictures to the virtual Franka's motion, in separate processes, for some time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from st4vla.benchmarks.tabletop.assets import CAMERAS
from st4vla.benchmarks.whole_way import processes
from st4vla.benchmarks.whole_way.path import shares_of_limits
from st4vla.benchmarks.whole_way.processes import Program, Setup
from st4vla.runtime.bridge.trace import sent_poses

#: Where the hand may go: over the table, where no joint of the arm is near its end.
WORKSPACE_M = (0.45, -0.25, 0.10, 0.65, 0.25, 0.40)
TURN_RAD = 0.3
#: Farthest that the measured hand may be from where it was told to be, a millisecond before.
TRACKING_BOUND_MM = 5.0


def limits() -> list[str]:
    """Return the options that keep the arm where it can go."""
    return ["--workspace", *(f"{corner:g}" for corner in WORKSPACE_M), "--turn", f"{TURN_RAD:g}"]


def run(setup: Setup, seconds: float) -> dict[str, Any]:
    """Run all processes for so long, and return what each said of itself and what the path was like.

    Raises:
        TransportError: A process did not start.
        MissingExtraError: Something is not installed or built.
    """
    trace = setup.folder / "trace.npz"
    with (
        processes.cameras(setup) as poses,
        processes.virtual_franka(setup, poses) as franka,
        processes.serving(setup),
        processes.bare_timers(setup, seconds) as timers,
    ):
        options = ["--seconds", f"{seconds:g}", "--seed", str(setup.seed), "--trace", str(trace), *limits()]
        driver = processes.drive(setup, CAMERAS, *options)
        try:
            *_, result = driver.lines()
        finally:
            driver.end()
        arm = franka.stop()
        machine = [_late(timer) for timer in timers]
    driven = msgspec.json.decode(result)
    rows = np.load(trace)["rows"]
    shares = shares_of_limits(sent_poses(rows), rows[:, 1])
    return {"drive": driven, "path_share_of_limits": shares, "virtual_franka": arm, "bare_timers": machine}


def _late(timer: Program) -> dict[str, Any]:
    """Return how late a bare timer was, microseconds, and how many milliseconds it missed."""
    *_, line = timer.lines()
    late: dict[str, Any] = msgspec.json.decode(line)["late_us"]
    return late


def missed(figures: Mapping[str, Any], seconds: float) -> list[str]:
    """Return what falls short, in words."""
    drive, arm, shares = figures["drive"], figures["virtual_franka"], figures["path_share_of_limits"]
    tracking_mm = drive.get("tracking_error_mm", {}).get("max", float("inf"))
    bounds = (
        (drive["ended"] == "at_rest", f"the run ended by itself: {drive['why']}"),
        (not arm["errors"], f"the virtual Franka stopped with {arm['errors']}"),
        (drive["missed"] == 0, f"{drive['missed']} commands were missed"),
        (arm["lost_commands"] == 0, f"the virtual Franka went {arm['lost_commands']} times without a command"),
        (drive["cycles"] >= 990 * seconds, f"{drive['cycles']} cycles in {seconds:g} s"),
        (max(shares.values()) <= 1.0, f"the path exceeds its limits: {shares}"),
        (tracking_mm <= TRACKING_BOUND_MM, f"the hand was {tracking_mm} mm off, at most {TRACKING_BOUND_MM:g}"),
        (drive["chunks_executed"] >= seconds, f"only {drive['chunks_executed']} chunks moved the arm"),
    )
    return [text for holds, text in bounds if not holds]
