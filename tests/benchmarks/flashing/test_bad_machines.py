"""Machines that are short of something, or have a wrong clock."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from st4vla.benchmarks.flashing.ground import Ground
from st4vla.benchmarks.flashing.powered_device import QUICK
from st4vla.benchmarks.flashing.stand_in import StandIn
from st4vla.runtime.flashing.config import BuildConfig

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@contextmanager
def booted(device: StandIn) -> Iterator[StandIn]:
    with device:
        device.boot()
        device.await_supervisor()
        yield device


def test_a_build_that_needs_more_memory_than_it_may_have_ends_alone(ground: Ground, tmp_path: Path) -> None:
    with booted(StandIn("capped", tmp_path, ground.lab.trust)) as device:
        assert ground.flash(device, ground.old.bundle.folder).ok
        device.cut_power()
        device.set_up(replace(QUICK, build=BuildConfig(memory_bytes=48 << 20)))
        device.boot()
        device.await_supervisor()
        result = ground.flash(device)
        assert not result.ok
        assert "memory" in result.message
        assert ground.serves(device) == "old"


def test_a_full_disk_refuses_a_bundle_and_takes_it_when_there_is_room(ground: Ground, tmp_path: Path) -> None:
    root = shlex.quote(str(tmp_path / "root"))
    disk = [
        f"cp -a {root} {root}.was",
        f"mount -t tmpfs -o size=40m none {root}",
        f"cp -a {root}.was/. {root}",
    ]
    with booted(StandIn("full", tmp_path, ground.lab.trust, first=disk)) as device:
        assert ground.flash(device, ground.old.bundle.folder).ok
        fill = f"dd if=/dev/zero of={root}/filler bs=64k; echo $(df --output=avail {root} | tail -1)"
        assert device.ssh_run(fill).stdout.split()[-1] == "0"
        result = ground.flash(device)
        assert not result.ok
        assert result.error in {"StorageError", "PreflightError"}, result
        assert ground.serves(device) == "old"
        device.ssh_run(f"rm {root}/filler")
        assert ground.flash(device).ok
        assert ground.serves(device) == "new"


@pytest.mark.parametrize("clock", ["1970-01-02 00:00:00", pytest.param("2099-12-31 23:59:50", marks=pytest.mark.slow)])
def test_a_wrong_clock_decides_nothing(ground: Ground, tmp_path: Path, clock: str) -> None:
    assert FAKETIME, "install faketime"
    wrong = {"LD_PRELOAD": str(FAKETIME[0]), "FAKETIME": f"@{clock}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with booted(StandIn("lost-in-time", tmp_path, ground.lab.trust, adjust=lambda usual: {**usual, **wrong})) as device:
        for policy in (ground.old, ground.new):
            result = ground.flash(device, policy.bundle.folder)
            assert result.ok, result
        assert ground.serves(device) == "new"
        assert clock[:2] == device.ssh_run("date +%Y").stdout[:2]
