"""Disks that change what was written to them."""

import time
from pathlib import Path

from st4vla.benchmarks.flashing.ground import Ground
from st4vla.benchmarks.flashing.stand_in import StandIn
from st4vla.contracts.device_status import SlotName
from st4vla.runtime.flashing.record import Record


def damage(device: StandIn, slot: SlotName) -> None:
    """Change a bit of a slot's engine while the device is off."""
    path = device.layout.slot(slot).engines / "sampler.engine"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def reboot(device: StandIn) -> None:
    device.boot()
    device.await_supervisor()


def await_event(device: StandIn, event: str) -> str:
    """Wait for a line of the device's record, and return its text."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for line in Record(device.layout.record).read():
            if line.event == event:
                return line.text
        time.sleep(0.05)
    raise AssertionError(device.console.read_text())


def test_a_damaged_engine_is_not_served_and_the_other_slot_is(ground: Ground, tmp_path: Path) -> None:
    with StandIn("worn", tmp_path, ground.lab.trust) as device:
        reboot(device)
        assert ground.flash(device, ground.old.bundle.folder).ok
        assert ground.flash(device).ok
        device.cut_power()
        damage(device, "b")
        reboot(device)
        assert ground.serves(device) == "old"
        assert "Slot a serves instead" in await_event(device, "fell_back")
        device.cut_power()
        damage(device, "a")
        reboot(device)
        # Neither is whole: it says so, and waits for a flash.
        assert "flash one" in await_event(device, "damaged")
        again = ground.release(ground.new, tmp_path / "again", counter=21)
        result = ground.flash(device, again)
        assert result.ok, result
        assert ground.serves(device) == "new"
