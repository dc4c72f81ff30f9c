"""What `st4vla tabletop` and `st4vla demo` have in common: the options of an episode, and how its figures are shown."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import require_positive, require_seed, table
from st4vla.contracts.errors import MissingExtraError, UsageError


def add_episode_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Add the options of an episode whose results go to `out` by default."""
    parser.add_argument("--instruction", default="pick up the red cube", help="what to do (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=21.0, help="length of the episode (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="where the objects lie, and the noise (default: 0)")
    parser.add_argument("--deadline-ms", type=float, default=100.0, help="older is late (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(out), help="folder for the results (default: %(default)s)")


def check_episode_options(options: argparse.Namespace) -> None:
    """Refuse an episode that cannot be.

    Raises:
        UsageError: A length, deadline or seed out of range, or a file in the place of the folder.
    """
    require_positive(options, "seconds", "deadline_ms")
    require_seed(options)
    if options.out.exists() and not options.out.is_dir():
        msg = f"{options.out} is a file; name a folder with --out"
        raise UsageError(msg)


def play_episode(server: str, options: argparse.Namespace, served: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Play the episode that the options ask for, until its end, SIGINT or SIGTERM, and show its figures.

    Raises:
        MissingExtraError: The simulator is not installed.
        St4vlaError: See `st4vla.benchmarks.tabletop.play`.
    """
    try:
        from st4vla.benchmarks.tabletop import play  # noqa: PLC0415 - the simulator is an extra
    except ImportError as error:
        msg = f"the tabletop needs {error.name}; install it with: pip install 'st4vla[sim,bench]'"
        raise MissingExtraError(msg) from error
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    figures = play.play(
        server,
        options.out,
        instruction=options.instruction,
        seconds=options.seconds,
        seed=options.seed,
        deadline_ms=options.deadline_ms,
        stopped=stop.is_set,
        served=served,
    )
    print(table([(name, _shown(value)) for name, value in figures.items()], ("figure", "value")))
    print(f"\n{', '.join(str(options.out / name) for name in (play.VIDEO, play.TIMELINE, play.RECEIPT))}\n")
    return figures


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {number}" for name, number in value.items())
    return str(value)
