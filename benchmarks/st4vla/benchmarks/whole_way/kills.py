"""Kill the runtime in mid-motion, again and again: the arm must come to rest in time, and without a reflex."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from st4vla.benchmarks.tabletop.assets import CAMERAS
from st4vla.benchmarks.virtual_franka.process import VirtualFranka
from st4vla.benchmarks.whole_way import processes
from st4vla.benchmarks.whole_way.path import speeds
from st4vla.benchmarks.whole_way.processes import Setup
from st4vla.benchmarks.whole_way.run import limits
from st4vla.contracts.clock import NS_PER_MS, monotonic_ns
from st4vla.runtime.bridge.trace import sent_poses

Array = npt.NDArray[np.float64]

HOLD_MS, STOP_MS = 200.0, 300.0
#: How long the arm has moved before a kill, at random between the two.
MOVING_S = (0.2, 1.2)
#: Until it moves at all, and how often that is looked at.
MOTION_TIMEOUT_S, LOOK_EVERY_S, MOVED_RAD = 10.0, 0.05, 1e-3
#: How long is waited after a kill until somebody looks at the arm.
LOOK_S = 1.5
#: Below these nothing moves, m/s and rad/s: a pose told in single precision does not change by less.
AT_REST_M_S, AT_REST_RAD_S = 1e-6, 1e-5


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes:
        speed_m_s: Of the hand when the runtime was killed.
        rest_ms: From the kill until the arm had come to rest.
        stayed: It did not move again before the operator said so.
    """

    speed_m_s: float
    rest_ms: float
    stayed: bool


def run(setup: Setup, kills: int) -> dict[str, Any]:
    """Let the arm move, kill the server, look, resume by the operator's signal, and so on.

    Raises:
        TransportError: A process did not start, or ended.
        MissingExtraError: Something is not installed or built.
    """
    trace = setup.folder / "trace.npz"
    options = ["--hold-ms", f"{HOLD_MS:g}", "--stop-ms", f"{STOP_MS:g}", "--trace", str(trace), *limits()]
    with processes.cameras(setup) as poses, processes.virtual_franka(setup, poses) as franka:
        moments, result = _kill_and_resume(setup, kills, options, franka)
        arm = franka.stop()
    driven = msgspec.json.decode(result)
    rows = np.load(trace)["rows"]
    found = [_kill(rows, *moment) for moment in moments]
    return {
        "kills": len(found),
        "moving_when_killed": sum(kill.speed_m_s > AT_REST_M_S for kill in found),
        "stayed_at_rest": sum(kill.stayed for kill in found),
        "rest_ms": {"p50": _percentile(found, 50), "max": _percentile(found, 100)},
        "bound_ms": HOLD_MS + driven["rest_bound_ms"],
        "drive": driven,
        "virtual_franka": arm,
    }


def _kill_and_resume(
    setup: Setup, kills: int, options: list[str], franka: VirtualFranka
) -> tuple[list[tuple[int, int]], str]:
    """Return when each kill was, and when somebody had looked at the arm; and the driver's last line."""
    chance = random.Random(setup.seed)  # noqa: S311 - moments, not secrets
    moments: list[tuple[int, int]] = []
    server = processes.serve(setup)
    driver = processes.drive(setup, CAMERAS, *options)
    try:
        driver.line()
        for _ in range(kills):
            _await_motion(franka)
            time.sleep(chance.uniform(*MOVING_S))
            killed_ns = monotonic_ns()
            server.process.kill()
            server.end()
            time.sleep(LOOK_S)
            moments.append((killed_ns, monotonic_ns()))
            if driver.process.poll() is not None:
                # It has ended by itself; its last line says why.
                break
            server = processes.serve(setup)
            driver.process.send_signal(signal.SIGUSR1)
    finally:
        *_, result = driver.end() or [""]
        server.end()
    return moments, result


def _await_motion(franka: VirtualFranka) -> None:
    """Wait until the arm moves, once its program has found the new server; a kill of one that never does tells so."""
    deadline = time.monotonic() + MOTION_TIMEOUT_S
    before = np.array(franka.ask("status")["q"])
    while np.abs(franka.ask("status")["q"] - before).max() < MOVED_RAD and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)


def missed(figures: dict[str, Any]) -> list[str]:
    """Return what falls short, in words."""
    drive, arm, kills = figures["drive"], figures["virtual_franka"], figures["kills"]
    bounds = (
        (drive["ended"] == "at_rest", f"the run ended by itself: {drive['why']}"),
        (not arm["errors"], f"the virtual Franka stopped with {arm['errors']}"),
        (figures["rest_ms"]["max"] <= figures["bound_ms"], f"rest after {figures['rest_ms']['max']} ms"),
        (figures["stayed_at_rest"] == kills, f"{kills - figures['stayed_at_rest']} times the arm moved by itself"),
        (figures["moving_when_killed"] >= 0.8 * kills, f"only {figures['moving_when_killed']} kills in mid-motion"),
        (drive["stops"] >= kills, f"{drive['stops']} stops for {kills} kills"),
    )
    return [text for holds, text in bounds if not holds]


def _kill(rows: Array, killed_ns: int, looked_ns: int) -> Kill:
    """Return what the trace says of one kill."""
    moves, turns = speeds(sent_poses(rows))
    begin, end = (int(index) for index in np.searchsorted(rows[1:, 0], (killed_ns, looked_ns)))
    moving = (moves[begin:end] > AT_REST_M_S) | (turns[begin:end] > AT_REST_RAD_S)
    last = int(np.flatnonzero(moving)[-1]) + 1 if moving.any() else 0
    rest_ns = rows[min(begin + last + 1, len(rows) - 1), 0] - killed_ns if last else 0.0
    return Kill(float(moves[max(begin - 1, 0)]), float(rest_ns) / NS_PER_MS, stayed=last < end - begin)


def _percentile(found: list[Kill], percent: float) -> float:
    return round(float(np.percentile([kill.rest_ms for kill in found], percent)), 1)
