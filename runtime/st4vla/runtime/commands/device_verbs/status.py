"""`st4vla device status`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import msgspec

from st4vla.contracts.device_status import DeviceStatus
from st4vla.runtime.flashing.asking import ask_status
from st4vla.runtime.flashing.layout import Layout

DIGEST_CHARACTERS = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print nothing but the last line, which holds everything")


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Print how the device is."""
    status = ask_status(Layout(options.root))
    if not options.json:
        print("\n".join(said(status)))
    told: dict[str, Any] = msgspec.to_builtins(status)
    return told


def said(status: DeviceStatus) -> list[str]:
    """Return a status for people."""
    machine, server = status.machine, status.server
    kind = " ".join(filter(None, (machine.model, machine.machine, machine.jetpack, machine.power_mode)))
    lines = [f"{kind}; {machine.backend or 'no engine library'}; st4vla {status.version}"]
    for name, slot in status.slots.items():
        text = "empty"
        if slot is not None:
            text = f"{slot.bundle_name} ({slot.bundle_digest[:DIGEST_CHARACTERS]}), counter {slot.counter}"
            text += "" if slot.revoked is None else f"; its key is revoked: {slot.revoked}"
        lines.append(f"slot {name}: {text}" + (f"; serves since {status.active_since}" * (name == status.active)))
    if status.trial is not None:
        trial = status.trial
        lines.append(
            f"on trial: slot {trial.slot}, {trial.elapsed_s:.0f} of {trial.needed_s:g} s, start {trial.starts}"
        )
    if status.flashing is not None:
        lines.append(f"being flashed: {status.flashing}")
    if server is None:
        lines.append("server: no supervisor runs; start it with `systemctl start st4vla-device`")
    else:
        causes = "".join(f"; {cause}" for cause in server.causes)
        lines.append(f"server: {server.health} on {server.endpoint}, {server.clients} clients{causes}")
    if status.last is not None:
        how = "done" if status.last.ok else "rolled back" if status.last.rolled_back else "refused"
        lines.append(f"last change: {how} at {status.last.ended_at}: {status.last.message}")
    return lines
