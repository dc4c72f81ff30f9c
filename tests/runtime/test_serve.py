import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.client import Client
from st4vla.runtime.observer import WARMING_UP

#: A server that waits for a word before it runs its engines for the first time.
SLOW_TO_WARM_UP = (
    "import sys; from st4vla.contracts.command_line import main; from st4vla.runtime.bundle_policy import BundlePolicy;"
    "BundlePolicy.warm_up = lambda self: sys.stdin.readline(); raise SystemExit(main())"
)


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    status, text = answer.status, answer.read().decode()
    connection.close()
    return status, text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_serves_and_stops_cleanly(bundle: Bundle, tmp_path: Path, number: signal.Signals) -> None:
    engines = str(tmp_path / "engines")
    assert main(["compile", str(bundle.folder), "--out", engines]) == 0
    command = [
        sys.executable,
        "-c",
        "from st4vla.contracts.command_line import main; raise SystemExit(main())",
        "serve",
    ]
    local = tmp_path / "socket"
    command += [str(bundle.folder), "--engines", engines, "--bind", "tcp://127.0.0.1:*", "--local", str(local)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == f"door local:{local}\n"
        assert local.is_socket()
        line = server.stdout.readline()
        assert line.startswith("serving trial on tcp://127.0.0.1:")
        with Client(line.split()[-1]) as client:
            assert client.hello().bundle_name == "trial"
        server.send_signal(number)
        out = server.stdout.read()
        assert server.wait(10) == 0
    assert json.loads(out.splitlines()[-1])["ok"] is True
    assert not local.exists()


def test_a_missing_bundle_is_one_line_and_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path / "none")]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "is not there" in captured.err


def test_impossible_rates_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path), "--plan-hz", "0"]) == 2
    assert "--plan-hz 0" in capsys.readouterr().err


def test_a_server_answers_probes_from_its_warming_up_to_its_end_and_tells_systemd(
    bundle: Bundle, tmp_path: Path
) -> None:
    engines, address = str(tmp_path / "engines"), str(tmp_path / "notify")
    assert main(["compile", str(bundle.folder), "--out", engines]) == 0
    command = [sys.executable, "-c", SLOW_TO_WARM_UP, "serve", str(bundle.folder), "--engines", engines]
    command += ["--bind", "tcp://127.0.0.1:*", "--metrics", "127.0.0.1:0"]
    environment = os.environ | {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server,
    ):
        manager.bind(address)
        manager.settimeout(20)
        assert server.stdout is not None
        assert server.stdin is not None
        line = server.stdout.readline()
        assert line.startswith("metrics on http://127.0.0.1:")
        port = int(line.rpartition(":")[2])
        assert get(port, "/live")[0] == 200
        assert get(port, "/ready") == (503, WARMING_UP.text + "\n")
        server.stdin.write("go on\n")
        server.stdin.flush()
        assert manager.recv(1000).startswith(b"READY=1\nSTATUS=ready: trial for 0 of 8 clients")
        assert manager.recv(1000).startswith(b"WATCHDOG=1")
        assert get(port, "/ready") == (200, "ready\n")
        assert f'name="{bundle.manifest.name}"' in get(port, "/metrics")[1]
        server.send_signal(signal.SIGTERM)
        while not (said := manager.recv(1000)).startswith(b"STOPPING=1"):
            assert said.startswith(b"WATCHDOG=1")
        assert server.wait(10) == 0


def test_an_address_for_metrics_without_a_host_is_refused(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = str(tmp_path / "engines")
    assert main(["compile", str(bundle.folder), "--out", engines]) == 0
    assert main(["serve", str(bundle.folder), "--engines", engines, "--metrics", "9464"]) == 2
    assert "--metrics 9464: give HOST:PORT" in capsys.readouterr().err


def test_engines_of_another_machine_are_refused_by_what_its_files_say(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines, system = str(tmp_path / "engines"), tmp_path / "system"
    assert main(["compile", str(bundle.folder), "--out", engines]) == 0
    (system / "var/lib/nvpmodel").mkdir(parents=True)
    (system / "var/lib/nvpmodel/status").write_text("pmode:0002\n")
    assert main(["serve", str(bundle.folder), "--engines", engines, "--system-root", str(system)]) == 1
    assert "power_mode: 'pmode:0002' here, '' there" in capsys.readouterr().err
