"""`st4vla virtual-franka`: a simulated Franka arm for unmodified libfranka clients."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from st4vla.benchmarks.virtual_franka.process import PROGRAM, WRONG_USAGE, find_program
from st4vla.contracts.command_line import Command
from st4vla.contracts.errors import TransportError, UsageError

#: Options that are handed on as they are, with what they say.
OPTIONS = {
    "bind": "IPv4 address of this machine to be reached at, ports 1337 and 1338; 127.0.0.1 unless given",
    "robot": "whose limits hold: fr3 (unless given) or panda",
    "q": "where the joints are at first, rad: seven numbers with commas between them",
    "floor": "height of the floor in the base's frame, m; 0 unless given",
    "control": "path of a Unix socket to listen at for faults and questions",
    "publish": "HOST:PORT to send joint positions to by UDP",
    "publish-every": "how often, ms; 10 unless given",
    "cpu": "the core to stay on; on any unless given",
    "seconds": "end after so long; at Ctrl-C unless given",
}


def _configure(parser: argparse.ArgumentParser) -> None:
    for name, text in OPTIONS.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=text)
    parser.add_argument("--no-hand-server", action="store_true", help="do not listen on port 1338")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    command = [find_program(), "--end-with-parent"]
    for name in OPTIONS:
        value = getattr(options, name.replace("-", "_"))
        if value is not None:
            command += [f"--{name}", value]
    if options.no_hand_server:
        command.append("--no-hand-server")
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018
        # Ctrl-C reaches the program as well, which is how it is meant to end; its report comes after.
        for _ in range(2):
            with suppress(KeyboardInterrupt):
                for line in process.stdout:
                    lines.append(line)
                    if len(lines) == 1:
                        print(line, end="", flush=True)
        said = process.stderr.read().strip().removeprefix(f"{PROGRAM}: ")
        status = process.wait()
    if status != 0:
        said = said or f"it ended with status {status}"
        raise (UsageError if status == WRONG_USAGE else TransportError)(said)
    report: Mapping[str, Any] = msgspec.json.decode(lines[-1])
    return report


COMMAND = Command("Simulate a Franka arm that unmodified libfranka clients can drive.", _configure, _run)
