import socket
from pathlib import Path

from st4vla.runtime.flashing.watchdog import Watchdog


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
