"""`st4vla tabletop`: the simulated arm, driven by a server over the wire."""

from __future__ import annotations

import argparse
import platform
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from st4vla.contracts.clock import NS_PER_S
from st4vla.contracts.command_line import Command, table
from st4vla.contracts.errors import MissingExtraError, UsageError
from st4vla.contracts.files import write_atomically
from st4vla.runtime.client import Client

VIDEO, TIMELINE, RECEIPT = "episode.mp4", "timeline.png", "receipt.json"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", default="tcp://127.0.0.1:5555", help="address of the server (default: %(default)s)")
    parser.add_argument("--instruction", default="pick up the red cube", help="what to do (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=21.0, help="length of the episode (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="where the objects lie, and the noise (default: 0)")
    parser.add_argument("--deadline-ms", type=float, default=100.0, help="older is late (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/tabletop"), help="results (default: %(default)s)")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    if options.seconds <= 0 or options.seed < 0 or options.deadline_ms <= 0:
        msg = (
            f"--seconds {options.seconds:g}, --deadline-ms {options.deadline_ms:g} must be positive, --seed at least 0"
        )
        raise UsageError(msg)
    try:
        from st4vla.benchmarks.tabletop.cameras import Cameras  # noqa: PLC0415 - the simulator is an extra
        from st4vla.benchmarks.tabletop.episode import run_episode  # noqa: PLC0415
        from st4vla.benchmarks.tabletop.summary import summarise  # noqa: PLC0415
        from st4vla.benchmarks.tabletop.timeline import draw_timeline  # noqa: PLC0415
        from st4vla.benchmarks.tabletop.video import write_video  # noqa: PLC0415
        from st4vla.benchmarks.tabletop.world import Tabletop  # noqa: PLC0415
    except ImportError as error:
        msg = f"the tabletop needs {error.name}; install it with: pip install 'st4vla[sim,bench]'"
        raise MissingExtraError(msg) from error
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        world = Tabletop(seed=options.seed)
    except FileNotFoundError as error:
        raise MissingExtraError(str(error)) from error
    with world, Cameras(world) as cameras, Client(options.server) as client:
        ticks = round(options.seconds * NS_PER_S / world.control_period_ns)
        episode = run_episode(
            client,
            world,
            cameras,
            options.instruction,
            ticks=ticks,
            seed=options.seed,
            record=True,
            stopped=stop.is_set,
        )
        rate_hz = NS_PER_S // world.control_period_ns
        clamped = int(world.clamped_commands)
    figures = summarise(episode, deadline_ms=options.deadline_ms) | {"commands_clamped": clamped}
    figures["ok"] = figures["control_ticks"] == ticks and figures["chunks"] > 0 and figures["errors"] == 0
    options.out.mkdir(parents=True, exist_ok=True)
    write_video(options.out / VIDEO, episode.frames, rate_hz)
    draw_timeline(options.out / TIMELINE, episode, f"tabletop: {options.instruction}")
    receipt = {
        "what": "tabletop episode",
        "instruction": options.instruction,
        "seed": options.seed,
        "deadline_ms": options.deadline_ms,
        "machine": platform.platform(),
        "figures": figures,
        "first_errors": [error.message for error in episode.errors[:5]],
    }
    write_atomically(options.out / RECEIPT, msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    rows = [(name, _shown(value)) for name, value in figures.items()]
    print(table(rows, ("figure", "value")))
    print(f"\n{options.out / VIDEO}, {options.out / TIMELINE}, {options.out / RECEIPT}\n")
    return figures


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {number}" for name, number in value.items())
    return str(value)


COMMAND = Command("Drive the simulated arm on its tabletop from a server's chunks.", _configure, _run)
