import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.command_line import GROUP, main
from st4vla.runtime.curve import ServerKeys
from st4vla.runtime.key_files import fingerprint, read_pair, read_public

ENTRIES = [metadata.EntryPoint(name, f"st4vla.runtime.commands.{name}:COMMAND", GROUP) for name in ("keys", "serve")]


class Terminal:
    """Runs `st4vla keys` in a folder and keeps what it said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.server, self.homes = folder / "server", folder / "homes"
        self._capsys = capsys
        self.said, self.refusal = "", ""

    def __call__(self, *words: str | Path, status: int = 0) -> dict[str, Any]:
        assert main(["keys", *map(str, words)]) == status
        captured = self._capsys.readouterr()
        self.said, self.refusal = captured.out, captured.err
        answer: dict[str, Any] = json.loads(captured.out.splitlines()[-1])
        assert answer["ok"] is (status == 0)
        return answer


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(metadata, "entry_points", lambda group: ENTRIES)
    return Terminal(tmp_path, capsys)


@pytest.fixture
def allowed(keys: Terminal) -> Terminal:
    """Return a terminal with a server that lets `robot` in."""
    keys("make", "server", "--out", keys.server)
    keys("make", "robot", "--out", keys.homes)
    keys("allow", keys.homes / "robot.key", "--server", keys.server)
    return keys


def test_keys_are_made_allowed_and_loaded(allowed: Terminal) -> None:
    loaded = ServerKeys.load(allowed.server)
    robot = read_pair(allowed.homes / "robot.key_secret")
    assert dict(loaded.clients.allowed) == {robot.public: "robot"}
    assert loaded.own == read_pair(allowed.server / "server.key_secret")
    assert f"robot is let in: {fingerprint(robot.public)}" in allowed.said


def test_making_says_which_file_is_for_whom_and_never_the_secret(keys: Terminal) -> None:
    answer = keys("make", "robot", "--out", keys.homes)
    pair = read_pair(Path(answer["secret"]))
    assert answer["public"] == str(keys.homes / "robot.key")
    assert answer["fingerprint"] == fingerprint(pair.public)
    assert "robot.key_secret: secret, stays on this machine" in keys.said
    assert pair.secret not in keys.said
    keys("make", "robot", "--out", keys.homes, status=2)
    assert "is there already; choose another name, or overwrite it with --force" in keys.refusal
    assert read_pair(Path(answer["secret"])) == pair
    keys("make", "robot", "--out", keys.homes, "--force")
    assert read_pair(Path(answer["secret"])) != pair


def test_showing_a_folder_shows_public_halves_only(allowed: Terminal) -> None:
    answer = allowed("show", allowed.server)
    own = read_pair(allowed.server / "server.key_secret")
    assert [(Path(key["path"]).name, key["kind"]) for key in answer["keys"]] == [
        ("robot.key", "public"),
        ("server.key", "public"),
        ("server.key_secret", "secret"),
    ]
    assert answer["keys"][2]["public_key"] == own.public
    assert own.secret not in allowed.said
    shown = allowed("show", allowed.homes / "robot.key")
    assert shown["keys"][0]["fingerprint"] == answer["keys"][0]["fingerprint"]


def test_showing_points_at_files_that_will_not_do(allowed: Terminal, tmp_path: Path) -> None:
    (allowed.server / "server.key_secret").chmod(0o644)
    (allowed.server / "clients" / "odd.key").write_text("nonsense")
    answer = allowed("show", allowed.server, status=1)
    assert len(answer["keys"]) == 3
    assert len(answer["notes"]) == 2
    assert "will not be used; close it with `chmod 600" in allowed.said
    allowed("show", tmp_path / "none", status=1)
    (tmp_path / "empty").mkdir()
    allowed("show", tmp_path / "empty", status=1)
    assert "holds no keys" in allowed.refusal


def test_allowing_refuses_what_would_confuse(allowed: Terminal) -> None:
    robot = allowed.homes / "robot.key"
    allowed("allow", robot, "--server", allowed.server)
    allowed("allow", robot, "--server", allowed.server, "--name", "arm", status=2)
    assert "this key is allowed already, as 'robot'" in allowed.refusal
    allowed("allow", allowed.homes / "robot.key_secret", "--server", allowed.server, status=1)
    assert "holds a secret key; use the public file" in allowed.refusal
    allowed("make", "other", "--out", allowed.homes)
    allowed("allow", allowed.homes / "other.key", "--server", allowed.server, "--name", "robot", status=2)
    assert "holds another key; choose another name with --name" in allowed.refusal
    allowed("allow", allowed.homes / "other.key", "--server", allowed.server, "--name", "robot", "--force")
    loaded = ServerKeys.load(allowed.server)
    assert dict(loaded.clients.allowed) == {read_public(allowed.homes / "other.key"): "robot"}
    allowed("allow", robot, "--server", allowed.homes / "none", status=1)
    assert "holds no server's key" in allowed.refusal


def test_revoking_takes_away_every_copy_of_the_key(allowed: Terminal) -> None:
    clients = allowed.server / "clients"
    (clients / "copy.key").write_bytes((clients / "robot.key").read_bytes())
    answer = allowed("revoke", "robot", "--server", allowed.server)
    assert answer["removed"] == [str(clients / "copy.key"), str(clients / "robot.key")]
    assert not ServerKeys.load(allowed.server).clients.allowed
    allowed("revoke", "robot", "--server", allowed.server, status=2)
    assert "no client is called 'robot'; let in are nobody" in allowed.refusal
    allowed("revoke", "../server", "--server", allowed.server, status=2)
    assert (allowed.server / "server.key").is_file()


def test_a_file_that_holds_no_key_can_be_revoked_as_well(allowed: Terminal) -> None:
    odd = allowed.server / "clients" / "odd.key"
    odd.write_text("nonsense")
    assert allowed("revoke", "odd.key", "--server", allowed.server)["fingerprint"] is None
    assert not odd.exists()


def test_serving_beyond_this_machine_asks_for_keys_before_anything_else(
    allowed: Terminal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["serve", str(tmp_path / "none"), "--bind", "tcp://*:5555"]
    assert main(options) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"] == "UnsafeBindError"
    assert "st4vla keys make" in captured.err
    assert main([*options, "--keys", str(allowed.homes / "none")]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == "KeyFileError"
    # With keys, what is missing is the bundle.
    assert main([*options, "--keys", str(allowed.server)]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == "ManifestError"
