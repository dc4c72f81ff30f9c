"""Which devices there are, and how each is reached: an inventory in TOML, or names on the command line.

::

    [defaults]                      # of all devices; each field may stand here but host and name
    command = "sudo -n /opt/st4vla/bin/st4vla"
    groups = ["lab"]

    [[device]]
    host = "thor-1"                 # as for ssh: an alias of ~/.ssh/config, or user@address
    name = "left arm"               # what people call it; the host, if it has no other name
    groups = ["arms"]               # besides those of the defaults, as are ssh_options
    canary = true                   # is flashed first
    root = "/data/st4vla"           # its folder, if that is not the usual one
    ssh_options = ["-p", "2222"]
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from st4vla.contracts.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Lists of the defaults that a device adds to.
_ADDED = ("groups", "ssh_options")


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device and the way to it.

    Attributes:
        host: What `ssh` is told.
        name: What people call it; the host, if empty.
        command: How `st4vla` is called there: words for the shell at the other end.
        root: Its folder there; the usual one, if empty.
        groups: Names that `--group` chooses by.
        canary: It is flashed first.
        ssh: The program in `ssh`'s place and its first arguments, such as a wrapper.
        ssh_options: Arguments for it, before ours, so that they win.
    """

    host: str
    name: str = ""
    command: str = "st4vla"
    root: str = ""
    groups: tuple[str, ...] = ()
    canary: bool = False
    ssh: str = "ssh"
    ssh_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a host that `ssh` would take for an option, and what is empty."""
        if not self.host or self.host.startswith("-") or any(character.isspace() for character in self.host):
            msg = f"host {self.host!r}: name it as for ssh, such as thor-1 or user@192.0.2.7"
            raise ValueError(msg)
        for name in ("command", "ssh"):
            if not getattr(self, name).strip():
                msg = f"{name} is empty; leave it out for {type(self).__struct_defaults__[_place(name)]!r}"
                raise ValueError(msg)

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or self.host


def _place(name: str) -> int:
    """Return where the default of a field stands among the defaults; the host has none."""
    return Device.__struct_fields__.index(name) - 1


def read_inventory(path: Path, given: Mapping[str, Any] | None = None) -> tuple[Device, ...]:
    """Return the devices of an inventory.

    Args:
        path: TOML, see above.
        given: Fields that the command line says, which win over the inventory's defaults, not over a device's own.

    Raises:
        UsageError: The file, and of it the device and the key, that is wrong.
    """
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise UsageError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is not TOML: {error}"
        raise UsageError(msg) from error
    _require_keys(read, ("defaults", "device"), str(path))
    defaults, rows = read.get("defaults", {}), read.get("device", [])
    if not isinstance(defaults, dict):
        msg = f"{path}: `defaults` is not a table; write [defaults]"
        raise UsageError(msg)
    if not isinstance(rows, list) or not rows:
        msg = f'{path} names no device; write [[device]] and under it host = "NAME"'
        raise UsageError(msg)
    _require_keys(
        defaults, [name for name in Device.__struct_fields__ if name not in {"host", "name"}], f"{path}, [defaults]"
    )
    # Alone first, so that what is wrong in it is not blamed on a device.
    _device({"host": "any", **defaults}, f"{path}, [defaults]")
    defaults = {**defaults, **(given or {})}
    devices = tuple(_device(_joined(defaults, row), _where(path, number, row)) for number, row in enumerate(rows, 1))
    _require_distinct(devices, f"{path}: ")
    return devices


def named_devices(hosts: Iterable[str], given: Mapping[str, Any] | None = None) -> tuple[Device, ...]:
    """Return devices for the hosts of a command line.

    Raises:
        UsageError: One is no host, or stands there twice.
    """
    devices = tuple(_device({**(given or {}), "host": host}, "the command line") for host in hosts)
    _require_distinct(devices, "")
    return devices


def choose(devices: Collection[Device], names: Collection[str], groups: Collection[str]) -> tuple[Device, ...]:
    """Return the devices of any of these names and groups; all, if there are neither.

    Raises:
        UsageError: No device has such a name or group; the message lists those that there are.
    """
    _require_known("device", names, {device.title for device in devices})
    _require_known("group", groups, {group for device in devices for group in device.groups})
    if not names and not groups:
        return tuple(devices)
    return tuple(device for device in devices if device.title in names or set(device.groups) & set(groups))


def _require_known(what: str, asked: Collection[str], known: Collection[str]) -> None:
    unknown = [one for one in asked if one not in known]
    if unknown:
        msg = f"no {what} {', '.join(map(repr, unknown))}; there are {', '.join(sorted(known)) or 'none'}"
        raise UsageError(msg)


def _joined(defaults: Mapping[str, Any], row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    joined = {**defaults, **row}
    for name in _ADDED:
        own, common = row.get(name), defaults.get(name)
        if isinstance(own, list) and isinstance(common, list | tuple):
            joined[name] = [*own, *common]
    return joined


def _device(fields: Any, where: str) -> Device:
    try:
        return msgspec.convert(fields, Device)
    except msgspec.ValidationError as error:
        msg = f"{where}: {error}; known are {', '.join(Device.__struct_fields__)}"
        raise UsageError(msg) from error


def _where(path: Path, number: int, row: Any) -> str:
    title = (row.get("name") or row.get("host")) if isinstance(row, dict) else None
    return f"{path}, [[device]] number {number}" + (f" ({title})" if title else "")


def _require_keys(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    unknown = [key for key in table if key not in known]
    if unknown:
        msg = f"{where}: unknown key {', '.join(map(repr, unknown))}; known are {', '.join(known)}"
        raise UsageError(msg)


def _require_distinct(devices: Collection[Device], where: str) -> None:
    titles = [device.title for device in devices]
    twice = sorted({title for title in titles if titles.count(title) > 1})
    if twice:
        msg = f"{where}{', '.join(twice)} named twice; give each device a `name` of its own"
        raise UsageError(msg)
