import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.command_line import main
from st4vla.contracts.manifests import Bundle
from st4vla.contracts.messages import ActionChunk, Observation, View
from st4vla.runtime.client import Client

RUN = "from st4vla.contracts.command_line import main; raise SystemExit(main())"


def stream(endpoint: str, wanted: int) -> None:
    """Send frames until so many chunks have come."""
    rng, chunks = np.random.default_rng(0), 0
    with Client(endpoint) as client:
        client.hello()
        for _ in range(1000):
            pixels = rng.integers(0, 255, (28, 28, 3), np.uint8)
            views = tuple(View.from_pixels(name, pixels, monotonic_ns()) for name in ("agentview", "wrist"))
            sequence = client.next_sequence()
            client.send(Observation(sequence, views, "lift", seed=sequence))
            chunks += sum(isinstance(message, ActionChunk) for message in client.receive(0.02))
            if chunks >= wanted:
                return
    pytest.fail(f"{chunks} chunks came")


def served(bundle: Bundle, engines: Path, *options: str) -> dict[str, Any]:
    """Serve, stream, and return what the server says last."""
    command = [sys.executable, "-c", RUN, "serve", str(bundle.folder), "--engines", str(engines)]
    command += ["--bind", "tcp://127.0.0.1:*", "--plan-hz", "20", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
        assert server.stdout is not None
        stream(server.stdout.readline().split()[-1], 15)
        server.send_signal(signal.SIGINT)
        out = server.stdout.read()
        assert server.wait(10) == 0
    answer: dict[str, Any] = json.loads(out.splitlines()[-1])
    return answer


def replayed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, dict[str, Any]]:
    capsys.readouterr()
    status = main(["replay", *arguments])
    out = capsys.readouterr().out
    return status, out, json.loads(out.splitlines()[-1])


def test_a_served_session_is_recorded_and_replays(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = tmp_path / "engines"
    assert main(["compile", str(bundle.folder), "--out", str(engines)]) == 0
    answer = served(bundle, engines, "--record", str(tmp_path / "runs"), "--record-limit-gb", "1")
    told = answer["recording"]
    assert (told["failed"], told["lost"]) == (None, 0)
    path = Path(told["file"])
    assert path.parent == tmp_path / "runs"
    assert path.stat().st_size == told["bytes"]
    status, out, report = replayed(capsys, str(path), str(bundle.folder), "--engines", str(engines))
    assert status == 0
    assert "every one is the same" in out
    assert report["ok"] is report["whole"] is True
    assert report["chunks"] == answer["chunks"] >= 15
    assert report["plans"] == answer["plans"]
    manifest = bundle.folder / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"name": "trial"', '"name": "other"'))
    assert main(["compile", str(bundle.folder), "--out", str(engines)]) == 0
    status, _, report = replayed(capsys, str(path), str(bundle.folder), "--engines", str(engines))
    assert status == 1
    assert report["error"] == "RecordingError"
    assert "was recorded with the bundle 'trial'" in report["message"]


def test_a_tolerance_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path / "x.mcap"), str(tmp_path), "--tolerance", "-1"]) == 2
    assert "--tolerance -1" in capsys.readouterr().err


def test_what_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mcap", None)
    assert main(["replay", str(tmp_path / "x.mcap"), str(tmp_path)]) == 1
    assert "recordings need mcap, which is not installed; install it with: pip install" in capsys.readouterr().err
