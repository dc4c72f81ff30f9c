"""`st4vla stand-in`: a device to flash on this machine, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.benchmarks.flashing.powered_device import QUICK, PoweredDevice
from st4vla.benchmarks.flashing.stand_in import StandIn
from st4vla.benchmarks.flashing.virtual_jetson import MADE, VirtualJetson
from st4vla.contracts.command_line import Command


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trust", type=Path, required=True, metavar="FILE", help="its first list of trusted keys")
    parser.add_argument("--name", default="stand-in", help="what ssh calls it (default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, default=Path("out/stand_in"), help="for all that it stores (default: %(default)s)"
    )
    parser.add_argument(
        "--virtual-jetson",
        action="store_true",
        help=f"an aarch64 device under QEMU instead, as `make virtual-jetson` puts it into {MADE}",
    )


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with _device(options) as device:
        device.boot()
        device.await_supervisor()
        option = f"--ssh 'ssh -F {device.ssh.client_config}'"
        print(f"{device.name} is on; its policy will be served on {device.endpoint}")
        print(f"flash it:  st4vla flash BUNDLE {device.name} --trust {options.trust} {option}")
        print(f"look:      st4vla devices {device.name} {option}", flush=True)
        stop.wait()
    return {"name": device.name, "endpoint": device.endpoint, "console": str(device.console)}


def _device(options: argparse.Namespace) -> PoweredDevice:
    if options.virtual_jetson:
        return VirtualJetson(options.trust, config=QUICK, name=options.name)
    return StandIn(options.name, options.folder.absolute(), options.trust, config=QUICK)


COMMAND = Command("A device that stands in for a Jetson, to flash and to try out.", _configure, _run)
