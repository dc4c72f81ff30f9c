"""`st4vla device agent`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from st4vla.runtime.flashing.agent import Agent
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.message_stream import MessageStream


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""
    del parser


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Answer a flashing host on standard input and output, and print nothing else there."""
    Agent(Layout(options.root), MessageStream(sys.stdin.fileno(), sys.stdout.fileno())).run()
    # No last line in JSON: the host reads messages.
    raise SystemExit(0)
