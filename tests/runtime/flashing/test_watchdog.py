import configparser
import socket
from pathlib import Path

import pytest

from st4vla.runtime.commands.device import VERBS
from st4vla.runtime.flashing.keeper import END_S
from st4vla.runtime.flashing.supervising import BUILD_END_S
from st4vla.runtime.flashing.watchdog import Watchdog
from st4vla.runtime.systemd import STATUS_S

UNIT = Path(__file__).parents[3] / "runtime" / "systemd" / "st4vla-device.service"


def test_systemd_hears_that_the_supervisor_is_ready_lives_and_stops(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(5)
        with Watchdog({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"}) as watchdog:
            assert manager.recv(1000) == b"READY=1\nSTATUS=supervising"
            watchdog.beat("ready\non tcp")
            # The next one is due a while later.
            watchdog.beat("ready")
            assert manager.recv(1000) == b"WATCHDOG=1\nSTATUS=ready on tcp"
        assert manager.recv(1000) == b"STOPPING=1\nSTATUS=stopping"


def test_without_a_watchdog_it_tells_how_it_is_all_the_same(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(5)
        with Watchdog({"NOTIFY_SOCKET": address}) as watchdog:
            manager.recv(1000)
            watchdog.beat("ready")
            assert manager.recv(1000) == b"STATUS=ready"


def test_outside_systemd_nobody_is_told() -> None:
    with Watchdog({}) as watchdog:
        watchdog.beat("ready")


@pytest.fixture
def unit() -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return dict(parser["Service"])


def test_the_unit_starts_a_verb_that_there_is_and_watches_the_supervisor(unit: dict[str, str]) -> None:
    program, command, verb = unit["ExecStart"].split()
    assert (Path(program).name, command) == ("st4vla", "device")
    assert verb in VERBS
    wanted = {"Type": "notify", "NotifyAccess": "main", "Restart": "always", "KillMode": "mixed"}
    assert {name: unit[name] for name in wanted} == wanted
    assert int(unit["WatchdogSec"]) > 5 * STATUS_S
    assert int(unit["TimeoutStopSec"]) > BUILD_END_S + 2 * END_S


def test_the_unit_is_as_hard_as_that_of_a_plain_server(unit: dict[str, str]) -> None:
    plain = configparser.ConfigParser(strict=False, interpolation=None)
    plain.optionxform = str  # type: ignore[assignment,method-assign]
    plain.read_string(UNIT.with_name("st4vla.service").read_text())
    hardening = {
        name: value
        for name, value in plain["Service"].items()
        if name.startswith(("Protect", "Private", "Restrict", "SystemCall", "Capability", "Lock", "NoNew"))
    }
    assert len(hardening) > 15
    hardening.pop("Restart", None)
    assert {name: unit[name] for name in hardening} == hardening
    assert unit["User"] == "st4vla"
