"""Play an episode on the tabletop and leave its video, its timeline and its receipt."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.episode import run_episode
from st4vla.benchmarks.tabletop.summary import summarise
from st4vla.benchmarks.tabletop.timeline import draw_timeline
from st4vla.benchmarks.tabletop.video import write_video
from st4vla.benchmarks.tabletop.world import Tabletop
from st4vla.contracts.clock import NS_PER_S
from st4vla.contracts.errors import MissingExtraError
from st4vla.contracts.files import write_atomically
from st4vla.runtime.client import Client

VIDEO, TIMELINE, RECEIPT = "episode.mp4", "timeline.png", "receipt.json"


def play(
    server: str,
    out: Path,
    *,
    instruction: str,
    seconds: float,
    seed: int,
    deadline_ms: float,
    stopped: Callable[[], bool],
    served: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Drive the arm from a server's chunks in real time.

    Args:
        server: Address of the server.
        out: Folder for `episode.mp4`, `timeline.png` and `receipt.json`.
        instruction: What the policy is told.
        seconds: Length of the episode.
        seed: Where the objects lie, and the noise.
        deadline_ms: A chunk whose frame is older when it arrives is late.
        stopped: Asked at each tick; True ends the episode early.
        served: What is known of the policy, for the receipt.

    Returns:
        The figures of `summarise`, with ``commands_clamped`` and ``ok``: every tick ran, none after the warm-up was
        without a chunk, and no frame was refused.

    Raises:
        MissingExtraError: The robot's model is not installed.
        ServerUnreachableError: No server answers.
        ObservationError: The server's policy does not fit the tabletop.
    """
    try:
        world = Tabletop(seed=seed)
    except FileNotFoundError as error:
        raise MissingExtraError(str(error)) from error
    with world, Cameras(world) as cameras, Client(server) as client:
        ticks = round(seconds * NS_PER_S / world.control_period_ns)
        episode = run_episode(client, world, cameras, instruction, ticks=ticks, seed=seed, record=True, stopped=stopped)
        rate_hz = NS_PER_S // world.control_period_ns
        clamped = int(world.clamped_commands)
    figures = summarise(episode, deadline_ms=deadline_ms) | {"commands_clamped": clamped}
    whole = figures["control_ticks"] == ticks and figures["ticks_held"] == 0
    figures["ok"] = whole and figures["chunks"] > 0 and figures["errors"] == 0
    out.mkdir(parents=True, exist_ok=True)
    side_by_side = (np.concatenate([step[name] for name in sorted(step)], axis=1) for step in episode.frames)
    write_video(out / VIDEO, side_by_side, rate_hz)
    draw_timeline(out / TIMELINE, episode, f"the tabletop, told: {instruction}")
    receipt = {
        "what": "tabletop episode",
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "instruction": instruction,
        "seed": seed,
        "deadline_ms": deadline_ms,
        "served": dict(served or {}),
        "figures": figures,
        "first_errors": [error.message for error in episode.errors[:5]],
    }
    write_atomically(out / RECEIPT, msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    return figures
