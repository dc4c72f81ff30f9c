"""`st4vla flash BUNDLE DEVICE...`: bring a signed bundle to devices, and see it serve there."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command, require_positive
from st4vla.contracts.errors import UsageError
from st4vla.export.flashing.options import DOORS, add_device_options, devices_of
from st4vla.export.flashing.patience import Patience
from st4vla.export.flashing.payload import open_payload, trust_only
from st4vla.export.flashing.rate import RateLimit
from st4vla.export.flashing.reporting import Lines, Reporter
from st4vla.export.flashing.rollout import flash_all
from st4vla.export.flashing.session import Plan
from st4vla.export.flashing.shares import read_share
from st4vla.export.flashing.waves import Rollout
from st4vla.runtime.signing import read_trust

_SCALES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of a signed bundle (`st4vla sign`)")
    add_device_options(parser)
    trust = parser.add_mutually_exclusive_group(required=True)
    trust.add_argument("--trust", type=Path, metavar="FILE", help="list of trusted keys to verify the bundle with")
    trust.add_argument("--key", type=Path, metavar="FILE", help="or one public key")
    parser.add_argument("--dry-run", action="store_true", help="send and change nothing; say what would happen")
    parser.add_argument("--again", action="store_true", help="flash devices, too, that run this bundle already")
    parser.add_argument(
        "--canary", default="10%", metavar="SHARE", help="how many go first: a share or a number (default: 10%%)"
    )
    parser.add_argument(
        "--failure-budget",
        default="10%",
        metavar="SHARE",
        help="how many may fail after the canaries: a share or a number (default: 10%%)",
    )
    parser.add_argument("--parallel", type=int, default=10, help="devices at one moment (default: %(default)s)")
    parser.add_argument("--limit-rate", metavar="BYTES", help="bytes a second over all devices, such as 500k or 20M")
    parser.add_argument(
        "--retries", type=int, default=8, help="times a link is opened again without getting further (default: 8)"
    )
    parser.add_argument(
        "--silence", type=float, default=60.0, help="seconds after which a link is dead (default: %(default)s)"
    )
    parser.epilog = (
        "Canaries are at least one device, and at least one of each kind of machine; if one of them fails, no other is "
        "begun. Ctrl-C once: no further device is begun. Twice: nobody waits for those that run; they finish by "
        "themselves. Exit status 0 if every device ended well."
    )


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    require_positive(options, "parallel", "silence")
    if options.retries < 0:
        msg = f"--retries {options.retries}: must be 0 or more"
        raise UsageError(msg)
    rollout = Rollout(
        options.parallel,
        read_share(options.canary, "--canary"),
        read_share(options.failure_budget, "--failure-budget"),
    )
    limit = None if options.limit_rate is None else _bytes_per_s(options.limit_rate)
    devices = devices_of(options)
    trust = trust_only(options.key) if options.key is not None else read_trust(options.trust)
    payload = open_payload(options.bundle, trust)
    with _reporter(len(devices)) as reporter:
        plan = Plan(
            payload,
            importlib.metadata.version("st4vla"),
            Patience(retries=options.retries, silence_s=options.silence),
            RateLimit(limit),
            asyncio.Semaphore(DOORS),
            reporter,
            dry_run=options.dry_run,
            again=options.again,
        )
        results = asyncio.run(flash_all(devices, plan, rollout))
    good = sum(result.ok for result in results)
    return {
        "ok": good == len(results),
        "bundle": payload.release.bundle_name,
        "digest": payload.digest,
        "counter": payload.release.counter,
        "dry_run": options.dry_run,
        "good": good,
        "devices": results,
    }


@contextlib.contextmanager
def _reporter(total: int) -> Iterator[Reporter]:
    """Yield live lines on a terminal, where `rich` is installed, and plain lines elsewhere."""
    if sys.stdout.isatty():
        try:
            from rich.console import Console  # noqa: PLC0415 - an extra

            from st4vla.export.flashing.live import Screen  # noqa: PLC0415
        except ImportError:
            pass
        else:
            with Screen(Console(), total) as screen:
                yield screen
            return
    yield Lines(lambda line: print(line, flush=True))


def _bytes_per_s(text: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kMG]?)", text)
    rate = float(found[1]) * _SCALES[found[2]] if found else 0.0
    if rate <= 0:
        msg = f"--limit-rate {text}: give bytes a second, such as 500k, 20M or 1G"
        raise UsageError(msg)
    return rate


COMMAND = Command(
    "Bring a signed bundle to devices, and see it serve there or the old one come back.",
    _configure,
    _run,
    intermixed=True,
)
