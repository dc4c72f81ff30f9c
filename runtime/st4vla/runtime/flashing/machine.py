"""What kind of machine a device is, and how it is now."""

from __future__ import annotations

import os

from st4vla.contracts.device_status import Machine
from st4vla.contracts.errors import BackendUnavailableError, StorageError
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.backend import Backend
from st4vla.runtime.engines.catalogue import choose_backend
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.sensors import (
    battery_percent,
    board_model,
    jetpack,
    power_mode,
    supply_v,
    temperature_c,
    total_memory,
)


def read_machine(config: DeviceConfig, layout: Layout, backend: Backend | None = None) -> Machine:
    """Read what a device is, below the configuration's `system_root`.

    Args:
        config: Says where the machine's files are, and which back end it serves with.
        layout: Says whose disk counts.
        backend: That back end, if the caller knows it; else it is chosen. One that cannot be used here has no version.

    Raises:
        StorageError: The device has no folder yet.
    """
    root = config.root
    device = this_device(root)
    try:
        disk = os.statvfs(layout.root)
    except OSError as error:
        msg = f"{layout.root} cannot be read: {error.strerror}; `st4vla device init` makes a device's folder"
        raise StorageError(msg) from error
    return Machine(
        machine=device.machine,
        model=board_model(root) or device.processor,
        jetpack=jetpack(device.jetpack),
        power_mode=power_mode(root),
        backend=_backend(config, backend),
        memory_bytes=total_memory(root) or device.memory_bytes,
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        temperature_c=temperature_c(root),
        supply_v=supply_v(root),
        battery_percent=battery_percent(root),
    )


def _backend(config: DeviceConfig, backend: Backend | None) -> str:
    try:
        chosen = backend or choose_backend(config.serve.backend)
    except BackendUnavailableError:
        return ""
    return f"{chosen.name} {chosen.availability().version}".strip()
