"""Which devices a command is for, and how they are reached: the same options wherever that is asked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from st4vla.contracts.errors import UsageError
from st4vla.export.flashing.inventory import Device, choose, named_devices, read_inventory

#: Links that may be opening at one moment. sshd turns some away from the tenth on that has not logged in yet
#: (MaxStartups), and all may come through one host.
DOORS = 8


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which devices, and how they are reached."""
    parser.add_argument(
        "devices", nargs="*", metavar="DEVICE", help="hosts as for ssh; with --inventory, names of devices there"
    )
    parser.add_argument("--inventory", type=Path, metavar="FILE", help="devices in TOML (docs/flashing.md)")
    parser.add_argument("--group", action="append", default=[], help="the devices of this group; may be repeated")
    parser.add_argument("--command", metavar="WORDS", help="how st4vla is called on the devices (default: st4vla)")
    parser.add_argument("--root", metavar="FOLDER", help="their folder (default: the usual one)")
    parser.add_argument("--ssh", metavar="PROGRAM", help="a program in ssh's place (default: ssh)")
    parser.add_argument(
        "--ssh-option", action="append", default=[], metavar="WORD", help="an argument for ssh; may be repeated"
    )


def devices_of(options: argparse.Namespace) -> tuple[Device, ...]:
    """Return the devices that a command line names.

    Raises:
        UsageError: It names none, or one that is not there, or the inventory is wrong.
    """
    given: dict[str, Any] = {
        name: value for name in ("command", "root", "ssh") if (value := getattr(options, name)) is not None
    }
    if options.ssh_option:
        given["ssh_options"] = options.ssh_option
    if options.inventory is not None:
        return choose(read_inventory(options.inventory, given), options.devices, options.group)
    if options.group:
        msg = f"--group {options.group[0]}: groups stand in an inventory; name it with --inventory"
        raise UsageError(msg)
    if not options.devices:
        msg = "no device given: name hosts as for ssh, or an inventory with --inventory"
        raise UsageError(msg)
    return named_devices(options.devices, given)
