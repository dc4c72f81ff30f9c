import configparser
import os
import shlex
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from st4vla.contracts.clock import NS_PER_S, monotonic_ns
from st4vla.contracts.command_line import main
from st4vla.runtime.core import Core
from st4vla.runtime.diagnosis import HANG_NS
from st4vla.runtime.observer import Observer
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.systemd import ServiceNotifier, notify

UNIT = Path(__file__).parents[2] / "runtime" / "systemd" / "st4vla.service"


class Manager:
    """Stands for systemd: reads what it is told."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def told(self, timeout_s: float = 5.0) -> dict[str, str] | None:
        self._socket.settimeout(timeout_s)
        try:
            lines = self._socket.recv(4096).decode().split("\n")
        except TimeoutError:
            return None
        return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    running = Manager(str(tmp_path / "notify"))
    yield running
    running.close()


@pytest.fixture
def core() -> Iterator[Core]:
    running = Core(NullPolicy())
    running.start()
    yield running
    running.stop()


@pytest.fixture
def observer(core: Core) -> Observer:
    observer = Observer("null", "00")
    observer.serving(core)
    return observer


def test_a_service_says_that_it_is_ready_lives_and_stops(manager: Manager, observer: Observer) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
    began_ns = monotonic_ns()
    with ServiceNotifier(observer, environment):
        first = manager.told()
        assert first is not None
        assert first["READY"] == "1"
        assert first["STATUS"].startswith("ready: null for 0 of 8 clients, System 1 at 0.0 Hz")
        beats = [manager.told(), manager.told()]
        assert [beat and beat["WATCHDOG"] for beat in beats] == ["1", "1"]
        assert monotonic_ns() - began_ns >= 2 * 0.05 * NS_PER_S, "they come at half the time, not all the time"
    while (last := manager.told()) is not None and "WATCHDOG" in last:
        pass
    assert last == {"STOPPING": "1", "STATUS": "stopping"}
    assert not [thread for thread in threading.enumerate() if thread.name == "st4vla_systemd"]


def test_a_hanging_engine_gets_no_sign_of_life_and_systemd_is_told_why(
    manager: Manager, core: Core, observer: Observer
) -> None:
    notifier = ServiceNotifier(observer, {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "10000000"})
    core.vitals.system2.begin(monotonic_ns() - HANG_NS - NS_PER_S)
    notifier.beat()
    said = manager.told()
    assert said is not None
    assert "WATCHDOG" not in said
    assert said["STATUS"].startswith("System 2 has been in one call for 6 s: restart the server")
    core.vitals.system2.end(monotonic_ns())
    notifier.beat()
    assert (manager.told() or {})["WATCHDOG"] == "1"


def test_a_degraded_service_lives_and_says_why(manager: Manager, core: Core, observer: Observer) -> None:
    core.diagnosis.watch("recording_stopped", lambda: "the disk is full:\nmake room")
    ServiceNotifier(observer, {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "10000000"}).beat()
    said = manager.told()
    assert said is not None
    assert said["WATCHDOG"] == "1"
    assert said["STATUS"].startswith("degraded: null for")
    assert said["STATUS"].endswith("; the disk is full: make room")


@pytest.mark.parametrize("watchdog", [{}, {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}])
def test_a_watchdog_that_does_not_wait_for_this_process_gets_nothing(
    manager: Manager, observer: Observer, watchdog: dict[str, str]
) -> None:
    ServiceNotifier(observer, {"NOTIFY_SOCKET": manager.address, **watchdog}).beat()
    assert set(manager.told() or ()) == {"STATUS"}


def test_outside_systemd_nothing_is_said_and_no_thread_runs(observer: Observer) -> None:
    with ServiceNotifier(observer, {}):
        assert not [thread for thread in threading.enumerate() if thread.name == "st4vla_systemd"]


def test_a_socket_outside_the_file_system_is_reached_too() -> None:
    manager = Manager(f"@st4vla-test-{os.getpid()}")
    assert notify(manager.address, "READY=1")
    assert manager.told() == {"READY": "1"}
    manager.close()


def test_a_manager_that_is_gone_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not notify(str(tmp_path / "none"), "READY=1")
    assert "systemd does not listen on" in caplog.text


@pytest.fixture
def unit() -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return {f"{section}.{name}": value for section in parser.sections() for name, value in parser[section].items()}


def test_the_unit_starts_the_server_with_options_that_it_has(
    unit: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    program, command, bundle, *options = shlex.split(unit["Service.ExecStart"])
    assert (Path(program).name, command, bundle.startswith("/")) == ("st4vla", "serve", True)
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    known = capsys.readouterr().out
    flags = [option for option in options if option.startswith("--")]
    assert flags == options[::2]
    assert flags
    assert all(f"{flag} " in known for flag in flags)
    addresses = options[options.index("--bind") + 1], options[options.index("--metrics") + 1]
    assert all("127.0.0.1:" in address for address in addresses), "nobody outside is served unless he says so"


def test_the_unit_restarts_a_server_that_hangs(unit: dict[str, str]) -> None:
    wanted = {"Type": "notify", "NotifyAccess": "main", "Restart": "always"}
    assert {name: unit[f"Service.{name}"] for name in wanted} == wanted
    assert int(unit["Service.WatchdogSec"]) * NS_PER_S > HANG_NS
    assert unit["Unit.StartLimitIntervalSec"] == "0"


def test_the_unit_lets_the_server_do_little(unit: dict[str, str]) -> None:
    wanted = {
        "DynamicUser": "yes",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "CapabilityBoundingSet": "",
    }
    assert {name: unit[f"Service.{name}"] for name in wanted} == wanted
    assert "AF_UNIX" in unit["Service.RestrictAddressFamilies"].split(), "it must reach systemd's socket"
