"""Tests of `st4vla flash` and `st4vla devices`, as processes and as functions."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.envelope import Envelope, Signature, signed_bytes, write_envelope
from st4vla.export.flashing.payload import Payload

PROGRAM = "import sys; from st4vla.contracts.command_line import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def key(signer: Any, tmp_path: Path) -> Path:
    """The file of the tests' public key."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    path = tmp_path / "tests.pub.pem"
    path.write_bytes(
        signer.secret.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path


@pytest.fixture
def flashing(payload: Payload, key: Path, fleet: Any) -> Callable[..., list[str]]:
    """The command line of a flash, with more words."""
    return lambda *more: ["flash", str(payload.folder), "--key", str(key), "--ssh", fleet.ssh, *more]


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told


def test_a_flash_ends_with_each_devices_outcome(
    flashing: Callable[..., list[str]], payload: Payload, fleet: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.device("thor"), fleet.device("odin")
    assert main(flashing("thor", "odin", "--limit-rate", "20M")) == 0
    told = last_line(capsys)
    assert (told["ok"], told["good"], told["digest"]) == (True, 2, payload.digest)
    assert [(one["device"], one["state"]) for one in told["devices"]] == [("thor", "flashed"), ("odin", "flashed")]
    assert all(one["sent_bytes"] > payload.size and one["seconds"] > 0 for one in told["devices"])


def test_one_device_that_fails_is_exit_status_1(
    flashing: Callable[..., list[str]], payload: Payload, fleet: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.device("thor", {"refuse": {"install": ["preflight", "PreflightError", "disk full"]}})
    assert main(flashing("thor")) == 1
    told = last_line(capsys)
    assert (told["ok"], told["devices"][0]["message"]) == (False, "disk full")


def test_an_inventory_says_who_and_how(
    payload: Payload, key: Path, fleet: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for host in ("a", "b", "c"):
        fleet.device(host)
    inventory = tmp_path / "fleet.toml"
    inventory.write_text(
        f"[defaults]\nssh = '''{fleet.ssh}'''\n[[device]]\nhost = 'a'\nname = 'left'\ngroups = ['arms']\n"
        "[[device]]\nhost = 'b'\ngroups = ['arms']\nroot = '/srv/b'\n[[device]]\nhost = 'c'\n"
    )
    words = ["--inventory", str(inventory), "--group", "arms", "--dry-run"]
    assert main(["flash", str(payload.folder), "--key", str(key), *words]) == 0
    told = last_line(capsys)
    assert [one["state"] for one in told["devices"]] == ["would flash"] * 2
    assert fleet.words("b")[-1] == "st4vla device agent --root /srv/b"
    assert fleet.connections("c") == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no device given"),
        (["--group=x"], "groups stand in an inventory"),
        (["thor", "--limit-rate=fast"], "--limit-rate fast"),
        (["thor", "--limit-rate=0"], "--limit-rate 0"),
        (["thor", "--canary=110%"], "--canary 110%"),
        (["thor", "--failure-budget=-1"], "--failure-budget -1"),
        (["thor", "--parallel=0"], "--parallel 0"),
        (["thor", "--retries=-1"], "--retries -1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_happens(
    flashing: Callable[..., list[str]], fleet: Any, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    fleet.device("thor")
    assert main(flashing(*words)) == 2
    assert says in last_line(capsys)["message"]
    assert fleet.connections("thor") == 0


def test_an_unsigned_bundle_is_refused_before_a_device_is_spoken_to(
    flashing: Callable[..., list[str]], payload: Payload, fleet: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.device("thor")
    (payload.folder / "release.json").unlink()
    assert main(flashing("thor")) == 1
    assert last_line(capsys)["error"] == "SignatureError"
    assert fleet.connections("thor") == 0


def test_an_altered_file_is_named_and_not_offered(
    flashing: Callable[..., list[str]], payload: Payload, fleet: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.device("thor")
    path = payload.folder / "golden.npz"
    path.write_bytes(path.read_bytes()[::-1])
    assert main(flashing("thor")) == 1
    assert "golden.npz was altered" in last_line(capsys)["message"]
    log = fleet.folder / "thor" / "log"
    assert not log.exists() or "offer" not in log.read_text()


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end_s = time.monotonic() + 30
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_one_interrupt_begins_no_further_device_and_waits_for_those_that_run(
    flashing: Callable[..., list[str]], fleet: Any
) -> None:
    for number in range(3):
        fleet.device(f"d{number}", {"step_s": 0.1})
    process = start(flashing("d0", "d1", "d2", "--parallel", "1"))
    logs = [fleet.folder / f"d{number}" / "flash.json" for number in range(3)]
    while not any(log.exists() for log in logs):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    states = [one["state"] for one in json.loads(out.splitlines()[-1])["devices"]]
    assert sorted(states) == ["flashed", "not started", "not started"]
    assert "no further device is begun: interrupted; once more leaves those that run" in out


def test_a_second_interrupt_leaves_and_says_that_the_devices_go_on(
    flashing: Callable[..., list[str]], fleet: Any
) -> None:
    fleet.device("thor", {"step_s": 5.0})
    process = start(flashing("thor"))
    wait_for(fleet.folder / "thor" / "flash.json", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    (device,) = json.loads(out.splitlines()[-1])["devices"]
    assert device["state"] == "left"
    assert "it goes on by itself" in device["message"]


def test_a_terminal_shows_the_flash_live_and_keeps_how_it_ended(flashing: Callable[..., list[str]], fleet: Any) -> None:
    fleet.device("thor", {"step_s": 0.05})
    ours, theirs = pty.openpty()
    words = flashing("thor")
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(ours)
    assert process.wait(30) == 0
    assert b"/11 " in shown
    assert b"thor: flashed after" in shown
    assert b'{"ok":true,"bundle":"tiny"' in shown.splitlines()[-1]


def test_devices_are_shown_and_those_that_do_not_answer_with_why(
    fleet: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.device("thor")
    fleet.device("odin", {"exit": 255, "stderr": "ssh: Could not resolve hostname odin: Name or service not known"})
    assert main(["devices", "thor", "odin", "--ssh", fleet.ssh]) == 1
    out = capsys.readouterr().out
    assert "odin: its name is not known" in out
    told = json.loads(out.splitlines()[-1])["devices"]
    assert told[0]["status"]["machine"]["model"] == "Stand-in"
    assert told[1]["status"] is None
    assert main(["devices", "thor", "--ssh", fleet.ssh]) == 0


def test_a_newer_list_of_keys_is_brought_to_devices(
    fleet: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.device("thor")
    fleet.device("odin", {"refuse": {"trust": ["verify", "DowngradeError", "version 1 is older than 2"]}})
    envelope = tmp_path / "trust.json"
    signature = Signature("k", "AA==")
    envelope.write_bytes(write_envelope(Envelope("t", signed_bytes("t", b"").hex(), (signature,))))
    assert main(["devices", "thor", "odin", "--ssh", fleet.ssh, "--bring-trust", str(envelope)]) == 1
    assert fleet.log("thor") == ["0 hello", "0 trust"]
    told = last_line(capsys)["devices"]
    assert told[0]["why"] == ""
    assert "version 1 is older than 2" in told[1]["why"]


def test_flash_and_devices_start_without_torch_or_onnx() -> None:
    program = (
        "import sys\n"
        "from st4vla.export.commands import devices, flash\n"
        "print([m for m in ('torch', 'transformers', 'onnx', 'onnxruntime', 'numpy.random') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"
