"""Which devices are flashed first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from st4vla.contracts.device_status import Machine
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.shares import Share


def choose_canaries(machines: Mapping[Device, Machine], share: Share, digest: str) -> tuple[Device, ...]:
    """Return the devices that are flashed before all others.

    They are those that the inventory marks; then one of each kind of machine that is not among them; then as many as
    the share asks for, at least one. Who of equals is taken depends on the bundle, so that not always the same devices
    try what is new, and on nothing else, so that another run of the same flash begins with the same ones.

    Args:
        machines: What each device that can be reached is.
        share: How many are wanted.
        digest: Of the bundle.
    """
    order = sorted(machines, key=lambda device: hashlib.sha256(f"{digest} {device.title}".encode()).digest())
    chosen = [device for device in order if device.canary]
    kinds = {machines[device].kind for device in chosen}
    for device in order:
        if machines[device].kind not in kinds:
            kinds.add(machines[device].kind)
            chosen.append(device)
    wanted = max(share.at_least(len(order)), min(1, len(order)))
    others = [device for device in order if device not in chosen]
    return (*chosen, *others[: max(0, wanted - len(chosen))])
