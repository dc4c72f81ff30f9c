"""`st4vla devices`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from st4vla.contracts.command_line import Command
from st4vla.contracts.errors import UsageError


def _configure(parser: argparse.ArgumentParser) -> None:
    del parser


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    msg = f"not built yet: {options}"
    raise UsageError(msg)


COMMAND = Command("Show what runs on devices.", _configure, _run)
