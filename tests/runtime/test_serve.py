import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.client import Client


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
    command += [str(bundle.folder), "--engines", engines, "--bind", "tcp://127.0.0.1:*"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("serving trial on tcp://127.0.0.1:")
        with Client(line.split()[-1]) as client:
            assert client.hello().bundle_name == "trial"
        server.send_signal(number)
        out = server.stdout.read()
        assert server.wait(10) == 0
    assert json.loads(out.splitlines()[-1])["ok"] is True


def test_a_missing_bundle_is_one_line_and_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path / "none")]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "is not there" in captured.err


def test_impossible_rates_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path), "--plan-hz", "0"]) == 2
    assert "--plan-hz 0" in capsys.readouterr().err
