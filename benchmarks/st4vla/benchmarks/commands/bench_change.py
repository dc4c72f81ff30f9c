"""`st4vla bench-change BUNDLE`: whether a moved thing is noticed while the arm moves."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from st4vla.contracts.clock import NS_PER_S
from st4vla.contracts.command_line import Command, report_line, require_positive, require_seed, table
from st4vla.contracts.errors import MissingExtraError, UsageError
from st4vla.contracts.files import write_atomically
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.change import ChangeConfig

#: Cells a side that the bundle's are averaged to as well, to compare with.
COARSER = (8, 4)
#: Chunks a second of slower Systems 1, to compare with.
SLOWER_HZ = (10, 5)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument("--episodes", type=int, default=12, help="half of them with jumps (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each (default: %(default)s)")
    parser.add_argument(
        "--noise", type=float, default=3.0, help="of the cameras, in levels of 255 (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=2_000, help="of the first episode (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write a receipt into this file")
    parser.epilog = "Exit status 1 when a figure falls short of its bar. How fast the machine is does not matter."


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    try:
        from st4vla.benchmarks.change import noticing  # noqa: PLC0415 - the simulator is an extra
        from st4vla.benchmarks.change.scenes import FIRST_TICK  # noqa: PLC0415
        from st4vla.benchmarks.opened_bundle import opened  # noqa: PLC0415
    except ImportError as error:
        msg = f"this benchmark needs {error.name}; install it with: pip install 'st4vla[bench,sim,cpu]'"
        raise MissingExtraError(msg) from error
    require_positive(options, "episodes", "seconds")
    require_seed(options)
    ticks = round(options.seconds * NS_PER_S / noticing.TICK_NS)
    if options.episodes < 2 or options.noise < 0 or ticks < 2 * FIRST_TICK:
        msg = (
            f"--episodes {options.episodes} must be 2 or more, --noise {options.noise:g} 0 or more, --seconds "
            f"{options.seconds:g} at least {2 * FIRST_TICK * noticing.TICK_NS / NS_PER_S:g}"
        )
        raise UsageError(msg)
    bundle, config = Bundle(options.bundle), ChangeConfig()
    with TemporaryDirectory() as work, opened(bundle, Path(work)) as policy:
        seeds = range(options.seed, options.seed + options.episodes)
        watched = noticing.watch(policy, seeds, ticks=ticks, noise=options.noise)
    found = noticing.notice(watched, config, options.noise)
    missed = found.missed()
    report_line(f"{table(found.rows(), noticing.HEADER)}\n")
    views = len(bundle.manifest.views)
    few = {
        side: noticing.notice([noticing.coarser(each, views, side) for each in watched], config, options.noise)
        for side in COARSER
    }
    slow = {hz: noticing.notice(watched, config, options.noise, act_ns=NS_PER_S // hz) for hz in SLOWER_HZ}
    for measured, what in ((few, "cells a side"), (slow, "chunks a second")):
        for number, each in measured.items():
            figures = f"{each.noticed:.0%} noticed, {each.false_a_minute:.2f} false alarms a minute"
            report_line(f"{number} {what}: {figures}")
    for line in missed:
        report_line(f"missed: {line}")
    result = {
        "bundle": bundle.manifest.name,
        "jumps": len(found.delays_ticks),
        "noticed": round(found.noticed, 3),
        "false_a_minute": round(found.false_a_minute, 3),
        "missed": missed,
    }
    if options.out is not None:
        receipt = {
            "what": "whether a thing that jumps is noticed beside an arm that moves",
            "made_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "bundle_digest": bundle.digest,
            "first_seed": options.seed,
            "episodes": options.episodes,
            "seconds": options.seconds,
            "config": config,
            **result,
            "measured": found,
            "coarser": few,
            "slower": slow,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out, msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    return result | {"ok": not missed}


COMMAND = Command("Measure whether a thing that is moved is noticed while the arm moves.", _configure, _run)
