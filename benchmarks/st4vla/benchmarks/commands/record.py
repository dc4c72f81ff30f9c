"""`st4vla record`: a data set of the tabletop, with what was done and where things truly were."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command, require_positive, require_seed
from st4vla.contracts.errors import MissingExtraError, UsageError


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder for the data set, LeRobot v2.1")
    parser.add_argument("--episodes", type=int, default=300, help="scripted picks (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=1000, help="further pictures with boxes (default: %(default)s)")
    parser.add_argument("--held-out", type=float, default=0.1, help="share kept for validation (default: %(default)s)")
    parser.add_argument("--box-every", type=int, default=7, help="steps between annotated ones (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode (default: %(default)s)")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    require_positive(options, "episodes", "box_every", "workers")
    require_seed(options)
    if options.scenes < 0 or not 0 <= options.held_out < 1:
        msg = f"--scenes {options.scenes} must be at least 0, --held-out {options.held_out:g} at least 0 and below 1"
        raise UsageError(msg)
    try:
        from st4vla.benchmarks.tabletop.dataset import make_dataset  # noqa: PLC0415 - the simulator is an extra
    except ImportError as error:
        msg = f"recording needs {error.name}; install it with: pip install 'st4vla[sim]'"
        raise MissingExtraError(msg) from error
    began = time.monotonic()
    try:
        figures = make_dataset(
            options.out,
            episodes=options.episodes,
            scenes=options.scenes,
            held_out_share=options.held_out,
            box_every=options.box_every,
            seed=options.seed,
            workers=options.workers or len(os.sched_getaffinity(0)),
            report=_progress if sys.stderr.isatty() else lambda done, total: None,
        )
    except FileNotFoundError as error:
        raise MissingExtraError(str(error)) from error
    return {"dataset": str(options.out), **figures, "seconds": round(time.monotonic() - began, 1)}


def _progress(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\r{done} of {total} episodes and scenes", end=end, file=sys.stderr, flush=True)


COMMAND = Command(
    "Record scripted picks and scenes of the tabletop as a LeRobot data set with boxes.", _configure, _run
)
