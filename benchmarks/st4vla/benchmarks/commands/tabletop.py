"""`st4vla tabletop`: the simulated arm, driven by a server over the wire."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from st4vla.benchmarks.commands.episode_options import add_episode_options, check_episode_options, play_episode
from st4vla.contracts.command_line import Command


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", default="tcp://127.0.0.1:5555", help="address of the server (default: %(default)s)")
    add_episode_options(parser, "out/tabletop")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    check_episode_options(options)
    return play_episode(options.server, options)


COMMAND = Command("Drive the simulated arm on its tabletop from a server's chunks.", _configure, _run)
