"""`st4vla bench-splices BUNDLE`: how far the commanded motion jumps where one chunk follows another."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from st4vla.contracts.command_line import Command, report_line, require_positive, require_seed, table
from st4vla.contracts.errors import MissingExtraError
from st4vla.contracts.files import write_atomically
from st4vla.contracts.manifests import Bundle


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of a bundle, best of a trained policy")
    parser.add_argument("--episodes", type=int, default=8, help="for each way of chunking (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each (default: %(default)s)")
    parser.add_argument("--instruction", default="pick up the red cube", help="what to do (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=3_000, help="of the first episode (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write a receipt into this file")
    parser.epilog = "Exit status 1 when a figure falls short of its bar. How fast the machine is does not matter."


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    try:
        from st4vla.benchmarks import splices  # noqa: PLC0415 - the simulator is an extra
        from st4vla.benchmarks.opened_bundle import opened  # noqa: PLC0415
    except ImportError as error:
        msg = f"this benchmark needs {error.name}; install it with: pip install 'st4vla[bench,sim,cpu]'"
        raise MissingExtraError(msg) from error
    require_positive(options, "episodes", "seconds")
    require_seed(options)
    bundle = Bundle(options.bundle)
    ticks = round(options.seconds * 1e9 / bundle.manifest.action.period_ns)
    seeds = range(options.seed, options.seed + options.episodes)
    with TemporaryDirectory() as work, opened(bundle, Path(work)) as policy:
        found = splices.measure(policy, seeds, ticks=ticks, instruction=options.instruction)
    report_line(f"{table([each.row() for each in found], splices.HEADER)}\n")
    missed = [line for each in found for line in each.missed()]
    for line in missed:
        report_line(f"missed: {line}")
    if options.out is not None:
        receipt = {
            "what": "jumps of the commanded motion at splices and inside chunks",
            "made_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "bundle": bundle.manifest.name,
            "bundle_digest": bundle.digest,
            "instruction": options.instruction,
            "first_seed": options.seed,
            "episodes": options.episodes,
            "seconds": options.seconds,
            "act_ns": splices.ACT_NS,
            "plan_ns": splices.PLAN_NS,
            "missed": missed,
            "measured": found,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out, msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    return {"bundle": bundle.manifest.name, "missed": missed, "ok": not missed}


COMMAND = Command("Measure how far the motion jumps where one chunk follows another.", _configure, _run)
