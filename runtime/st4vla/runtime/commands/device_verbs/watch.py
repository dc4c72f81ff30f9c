"""`st4vla device watch`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from st4vla.contracts.flash_messages import Watch
from st4vla.runtime.commands.device_verbs.following import follow
from st4vla.runtime.flashing.layout import Layout


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""
    del parser


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Print how the flash goes that runs, or how the last one ended."""
    return follow(Layout(options.root), Watch())
