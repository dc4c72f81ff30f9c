import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.files import write_manifest
from st4vla.contracts.release import TRUST_TYPE
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.record import Record
from st4vla.runtime.flashing.state import SLOT_FORMAT, DeviceState, SlotRecord, write_state
from st4vla.runtime.signing.ed25519 import SecretKey
from st4vla.runtime.signing.public_keys import PublicKey
from st4vla.runtime.signing.statements import sign_statement
from st4vla.runtime.signing.trust_changes import add_key, new_trust


class Shell:
    """Runs `st4vla device` on a device's folder."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.layout, self._capsys = Layout(root), capsys
        self.key = SecretKey.from_seed(bytes(32))
        self.trust = new_trust([(PublicKey("releaser", self.key.public, ("release", "trust")), ("release", "trust"))])

    def run(self, *arguments: object, status: int = 0) -> tuple[dict[str, Any], str]:
        """Return the last line as JSON, and what was printed for people."""
        assert main(["device", str(arguments[0]), "--root", str(self.layout.root), *map(str, arguments[1:])]) == status
        out = self._capsys.readouterr().out
        *lines, last = out.splitlines()
        return json.loads(last), "\n".join(lines)

    def list_file(self, trust: Any) -> Path:
        path = self.layout.root.parent / f"trust-{trust.version}.json"
        path.write_bytes(sign_statement(TRUST_TYPE, trust, [self.key]))
        return path


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path / "device", capsys)


def test_a_device_is_made_with_its_first_list_and_takes_newer_ones(shell: Shell) -> None:
    first = shell.list_file(shell.trust)
    result, said = shell.run("init", "--trust", first)
    assert result["trust_version"] == 1
    assert "takes bundles that these keys have signed: releaser" in said
    result, _ = shell.run("init", "--trust", first, status=2)
    assert "trust.json is there already; `st4vla device trust FILE` takes a newer list" in result["message"]
    grown = add_key(shell.trust, PublicKey("next", SecretKey.from_seed(b"1" * 32).public, ("release",)), ("release",))
    result, said = shell.run("trust", shell.list_file(grown))
    assert (result["trust_version"], said) == (2, "version 2 is trusted, in place of 1")
    _, said = shell.run("trust", shell.list_file(grown))
    assert said == "version 2 is trusted already"
    result, _ = shell.run("trust", first, status=1)
    assert result["error"] == "DowngradeError"


def test_a_device_is_not_made_where_it_cannot_be_or_without_a_list(shell: Shell) -> None:
    result, _ = shell.run("init", "--trust", "none.json", status=1)
    assert "none.json cannot be read" in result["message"]
    assert not shell.layout.root.exists()
    shell.layout.root.parent.joinpath("device").write_text("a file")
    result, _ = shell.run("init", "--trust", shell.list_file(shell.trust), status=1)
    assert "cannot be made" in result["message"]


def test_the_record_is_shown_the_newest_last(shell: Shell) -> None:
    shell.layout.root.mkdir()
    record = Record(shell.layout.record)
    for number in range(5):
        record.write(
            "step", attempt=f"f{number}", step="compile", bundle_name="tiny", bundle_digest="ab" * 32, text="t"
        )
    result, said = shell.run("log", "--last", "2")
    assert result["lines"] == 2
    assert [line.split(" ", 1)[1] for line in said.splitlines()] == [
        "f3 step compile tiny (abababababab): t",
        "f4 step compile tiny (abababababab): t",
    ]
    shell.run("log", "--last", "0", status=2)


def test_the_record_is_followed(shell: Shell) -> None:
    shell.layout.root.mkdir()
    record = Record(shell.layout.record)
    record.write("one")
    following = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from st4vla.contracts.command_line import main; main()",
            "device",
            "log",
            "--root",
            shell.layout.root,
            "--follow",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    try:
        assert following.stdout.readline().endswith(" one\n")
        record.write("two")
        assert following.stdout.readline().endswith(" two\n")
    finally:
        following.kill()
        following.wait()
        following.stdout.close()


def test_slots_that_are_not_whole_are_named(shell: Shell) -> None:
    shell.layout.root.mkdir()
    shell.layout.config.write_text('{"serve": {"backend": "onnxruntime"}}')
    result, said = shell.run("verify")
    assert result["slots"] == {"a": "empty", "b": "empty"}
    write_state(shell.layout.state, DeviceState(active="b"))
    slot = shell.layout.slot("b")
    slot.bundle.mkdir(parents=True)
    write_manifest(slot.record, SlotRecord(SLOT_FORMAT, "tiny", "ab", 1, "cd", "", "f1"))
    result, said = shell.run("verify", status=1)
    assert "slot b (active): " in said
    assert "bundle.json is not there" in result["slots"]["b"]


def test_a_verb_that_is_none_is_answered_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["device", "explode"])
    assert "choose from init, run, agent," in capsys.readouterr().err.replace("'", "")
    with pytest.raises(SystemExit):
        main(["device", "init", "--help"])
    assert "--trust FILE" in capsys.readouterr().out


def test_a_verb_loads_only_its_own_module(tmp_path: Path) -> None:
    code = (
        "import sys; from st4vla.contracts.command_line import main; "
        f"main(['device', 'log', '--root', {str(tmp_path)!r}]); "
        "assert not {'numpy', 'onnxruntime', 'cryptography', 'zmq'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
