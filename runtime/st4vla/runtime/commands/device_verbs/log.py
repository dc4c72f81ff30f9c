"""`st4vla device log`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from st4vla.contracts.command_line import require_positive
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.record import Record, RecordLine

DIGEST_CHARACTERS = 12
FOLLOW_S = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--last", type=int, default=40, help="so many lines (default: %(default)s)")
    parser.add_argument("--follow", action="store_true", help="go on with what happens, until SIGINT")


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Print the record."""
    require_positive(options, "last")
    record = Record(Layout(options.root).record)
    lines = record.read(options.last)
    for line in lines:
        print(said(line))
    while options.follow:
        time.sleep(FOLLOW_S)
        newest = record.read()
        seen = newest.index(lines[-1]) + 1 if lines and lines[-1] in newest else 0
        for line in newest[seen:]:
            print(said(line), flush=True)
        lines = newest
    return {"lines": len(lines)}


def said(line: RecordLine) -> str:
    """Return a line for people."""
    parts = [line.time, line.attempt, line.event]
    if line.step is not None:
        parts.append(line.step)
    if line.bundle_name:
        parts.append(f"{line.bundle_name} ({line.bundle_digest[:DIGEST_CHARACTERS]})")
    return " ".join(filter(None, parts)) + (f": {line.text}" if line.text else "")
