"""`st4vla devices DEVICE...`: what runs where, in which slot, since when, how healthy."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command, require_positive
from st4vla.contracts.errors import UsageError
from st4vla.contracts.flash_messages import Trust
from st4vla.export.flashing.asking import Answered, ask_all
from st4vla.export.flashing.options import DOORS, add_device_options, devices_of
from st4vla.export.flashing.patience import Patience
from st4vla.export.flashing.table import devices_table


def _configure(parser: argparse.ArgumentParser) -> None:
    add_device_options(parser)
    parser.add_argument(
        "--bring-trust", type=Path, metavar="FILE", help="bring the devices a newer list of trusted keys first"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, help="seconds to wait for a device's first word (default: %(default)s)"
    )
    parser.epilog = "Exit status 1 unless every device answered. The last line holds all that each device says."


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    require_positive(options, "timeout")
    devices = devices_of(options)
    request = None if options.bring_trust is None else Trust(_bytes(options.bring_trust))
    version = importlib.metadata.version("st4vla")
    answers = asyncio.run(ask_all(devices, request, version, Patience(welcome_s=options.timeout), DOORS))
    print(devices_table(answers, datetime.datetime.now(datetime.timezone.utc)))
    return {"ok": not any(one.why for one in answers), "devices": [_told(one) for one in answers]}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"--bring-trust {path}: cannot be read: {error.strerror}"
        raise UsageError(msg) from error


def _told(answer: Answered) -> Mapping[str, Any]:
    return {
        "device": answer.device.title,
        "host": answer.device.host,
        "status": answer.status,
        "why": answer.why,
    }


COMMAND = Command("Show what runs on devices: policy, slot, health, rates.", _configure, _run, intermixed=True)
