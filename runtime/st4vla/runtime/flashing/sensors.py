"""A machine's temperature, supply, battery and free memory, as Linux shows them; None where it shows none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

#: Names of the INA3221's channel that measures what comes into a Jetson, by board; then any that has a voltage.
SUPPLY_LABELS = ("VDD_IN", "VIN_SYS_5V0", "VIN")
_MILLI = 1e-3
#: A thermal zone that is switched off reads as something far below what electronics live through.
_COLDEST_C = -60.0


def board_model(root: Path) -> str:
    """Return what the device tree calls the board, such as ``NVIDIA Jetson AGX Orin Developer Kit``, or nothing."""
    return _text(root / "proc/device-tree/model")


def temperature_c(root: Path) -> float | None:
    """Return the temperature of the hottest thermal zone."""
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*/temp"))
    values = [value * _MILLI for value in map(_number, zones) if value is not None]
    return max((value for value in values if value > _COLDEST_C), default=None)


def supply_v(root: Path) -> float | None:
    """Return the voltage of a Jetson's supply, as its INA3221 measures it."""
    found: dict[str, float] = {}
    for monitor in sorted(_monitors(root)):
        if _text(monitor / "name") != "ina3221":
            continue
        for label in sorted(monitor.glob("in*_label")):
            value = _number(label.with_name(label.name.replace("_label", "_input")))
            if value is not None:
                found[_text(label)] = value * _MILLI
    return next((found[label] for label in SUPPLY_LABELS if label in found), None)


def battery_percent(root: Path) -> float | None:
    """Return the charge of the machine's battery; of the emptiest, if it has several."""
    supplies = (root / "sys/class/power_supply").glob("*")
    # A mouse's battery is one of scope Device.
    own = [one for one in supplies if _text(one / "type") == "Battery" and _text(one / "scope") != "Device"]
    values = [value for value in (_number(one / "capacity") for one in own) if value is not None]
    return min(values, default=None)


def total_memory(root: Path) -> int | None:
    """Return the bytes of memory that a machine has."""
    return _meminfo(root, "MemTotal")


def available_memory(root: Path) -> int | None:
    """Return the bytes of memory that can still be had without paging; of this machine, where a tree says nothing."""
    available = _meminfo(root, "MemAvailable")
    return _meminfo(Path("/"), "MemAvailable") if available is None else available


def jetpack(release: str) -> str:
    """Return an L4T release, such as ``36.4.3``, from the first line of ``/etc/nv_tegra_release``; empty for others.

    That line is like ``# R36 (release), REVISION: 4.3, GCID: 38968081, ...``.
    """
    words = release.replace(",", " ").split()
    if len(words) < 2 or not words[1].startswith("R") or "REVISION:" not in words:
        return ""
    revision = words[words.index("REVISION:") + 1 :]
    return f"{words[1][1:]}.{revision[0]}" if revision else ""


def power_mode(root: Path) -> str:
    """Return the name of nvpmodel's mode, such as ``MAXN``; empty where there is none.

    ``/var/lib/nvpmodel/status`` has its number, like ``pmode:0000``, and ``/etc/nvpmodel.conf`` its name, like
    ``< POWER_MODEL ID=0 NAME=MAXN >``. Without that, the number is the name.
    """
    status = _text(root / "var/lib/nvpmodel/status")
    number = status.rpartition(":")[2]
    if not number.isdigit():
        return status
    for line in _text(root / "etc/nvpmodel.conf").splitlines():
        words = line.replace("=", " ").split()
        if "POWER_MODEL" in words and "ID" in words and "NAME" in words:
            at, name = words[words.index("ID") + 1], words[words.index("NAME") + 1]
            if at.isdigit() and int(at) == int(number):
                return name
    return status


def _monitors(root: Path) -> Iterator[Path]:
    # The same one under two names; a tree of files for a test may have only one of them.
    yield from (root / "sys/class/hwmon").glob("hwmon*")
    yield from (root / "sys/bus/i2c/drivers/ina3221").glob("*/hwmon/hwmon*")


def _meminfo(root: Path, field: str) -> int | None:
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == field and value.split():
            return int(value.split()[0]) * 1024
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None
