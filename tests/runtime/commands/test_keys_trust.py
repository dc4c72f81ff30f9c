import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.command_line import GROUP, main
from st4vla.runtime.signing import accept_trust, read_trust
from st4vla.runtime.signing.secret_keys import PASSPHRASE_VARIABLE


class Terminal:
    """Runs `st4vla keys` with a folder of keys and a list, and keeps what it said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.keys, self.list = folder / "keys", folder / "trust.json"
        self._capsys = capsys
        self.said, self.refusal = "", ""

    def __call__(self, *words: str | Path, status: int = 0) -> dict[str, Any]:
        assert main(["keys", *map(str, words)]) == status
        captured = self._capsys.readouterr()
        self.said, self.refusal = captured.out, captured.err
        answer: dict[str, Any] = json.loads(captured.out.splitlines()[-1])
        assert answer["ok"] is (status == 0)
        return answer

    def public(self, name: str) -> Path:
        return self.keys / f"{name}.pub.pem"

    def change(self, verb: str, *words: str | Path, by: str = "owner", status: int = 0) -> dict[str, Any]:
        return self("trust", verb, self.list, *words, "--sign-with", self.keys / f"{by}.secret.pem", status=status)


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    entry = metadata.EntryPoint("keys", "st4vla.runtime.commands.keys:COMMAND", GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry])
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    return Terminal(tmp_path, capsys)


@pytest.fixture
def house(keys: Terminal) -> Terminal:
    """Return a terminal with an owner, a signer, and a list that trusts both."""
    keys("signing", "owner", "--out", keys.keys, "--role", "trust")
    keys("signing", "signer", "--out", keys.keys)
    keys.change("new", "--key", keys.public("owner"), "--key", keys.public("signer"))
    return keys


def names(answer: dict[str, Any]) -> dict[str, list[str]]:
    return {key["name"]: key["roles"] for key in answer["keys"].values()}


def test_making_says_which_file_is_for_whom_and_never_the_secret(keys: Terminal) -> None:
    answer = keys("signing", "release", "--out", keys.keys)
    assert answer["roles"] == ["release"]
    assert "release.secret.pem: secret, not encrypted, stays where releases are signed" in keys.said
    assert "release.pub.pem: public, for trust lists" in keys.said
    assert f"key id {answer['key_id']}" in keys.said
    assert Path(answer["secret"]).read_text().splitlines()[1] not in keys.said
    keys("signing", "release", "--out", keys.keys, status=2)
    assert "is there already; choose another name" in keys.refusal


def test_a_key_with_a_passphrase_signs_a_list(keys: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "horse battery")
    secret = keys("signing", "owner", "--out", keys.keys, "--role", "trust", "--passphrase")["secret"]
    assert "secret, encrypted" in keys.said
    assert "ENCRYPTED" in Path(secret).read_text()
    keys.change("new", "--key", keys.public("owner"))
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "donkey")
    keys.change("add", keys.public("owner"), "--name", "again", "--role", "release", status=2)
    keys("signing", "signer", "--out", keys.keys)
    keys.change("add", keys.public("signer"), status=1)
    assert "the passphrase is wrong" in keys.refusal


def test_a_list_shows_its_keys_their_roles_and_what_was_revoked(house: Terminal) -> None:
    house("signing", "other", "--out", house.keys)
    assert house.change("add", house.public("other"), "--name", "spare")["version"] == 2
    house.change("revoke", "spare", "--why", "left on a train")
    answer = house("trust", "show", house.list)
    assert (answer["version"], names(answer)) == (3, {"owner": ["trust"], "signer": ["release"]})
    assert list(answer["revoked"].values()) == [{"name": "spare", "why": "left on a train"}]
    assert "trust.json: version 3" in house.said
    assert "left on a train" in house.said
    assert house("show", house.list) == answer


def test_a_key_is_rotated_by_trusting_both_and_then_revoking_the_old_one(house: Terminal) -> None:
    first = read_trust(house.list)
    house("signing", "signer-2", "--out", house.keys)
    answer = house.change("rotate", "signer", house.public("signer-2"))
    assert names(answer) == {"owner": ["trust"], "signer": ["release"], "signer-2": ["release"]}
    assert "sign with both until every device has this list, then: st4vla keys trust revoke" in house.said
    second = accept_trust(first, house.list.read_bytes())
    answer = house.change("revoke", "signer", "--why", "retired")
    assert names(answer) == {"owner": ["trust"], "signer-2": ["release"]}
    assert accept_trust(second, house.list.read_bytes()).version == 3
    assert accept_trust(first, house.list.read_bytes()).version == 3


def test_a_change_that_devices_would_refuse_leaves_the_list_as_it_was(house: Terminal) -> None:
    before = house.list.read_bytes()
    house("signing", "other", "--out", house.keys, "--role", "trust", "--role", "release")
    house.change("add", house.public("other"), by="signer", status=1)
    assert "key 'signer' is trusted for 'release', not for 'trust'" in house.refusal
    house.change("add", house.public("other"), by="other", status=1)
    assert "is not on the trust list" in house.refusal
    house.change("revoke", "owner", "--why", "gone", status=1)
    assert "nobody could ever change the list" in house.refusal
    house.change("revoke", "nobody", "--why", "gone", status=2)
    assert "has no key 'nobody'; it has owner, signer" in house.refusal
    house.change("new", "--key", house.public("owner"), status=2)
    assert "is there already" in house.refusal
    assert house.list.read_bytes() == before


def test_a_new_list_can_go_to_another_file(house: Terminal, tmp_path: Path) -> None:
    before = house.list.read_bytes()
    house.change("revoke", "signer", "--why", "retired", "--out", tmp_path / "next.json")
    assert house.list.read_bytes() == before
    assert read_trust(tmp_path / "next.json").version == 2


def test_showing_a_folder_shows_keys_of_both_kinds(house: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    house("make", "robot", "--out", house.keys)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "horse battery")
    house("signing", "locked", "--out", house.keys, "--passphrase")
    answer = house("show", house.keys)
    assert [(Path(key["path"]).name, key["kind"]) for key in answer["keys"]] == [
        ("robot.key", "public"),
        ("robot.key_secret", "secret"),
        ("locked.pub.pem", "signs, public"),
        ("owner.pub.pem", "signs, public"),
        ("signer.pub.pem", "signs, public"),
        ("locked.secret.pem", "signs, secret, encrypted"),
        ("owner.secret.pem", "signs, secret"),
        ("signer.secret.pem", "signs, secret"),
    ]
    assert answer["keys"][3] == {**answer["keys"][3], "roles": ["trust"], "key_id": answer["keys"][6]["key_id"]}
    assert answer["keys"][5]["key_id"] is None


def test_showing_points_at_signing_keys_that_will_not_do(house: Terminal) -> None:
    (house.keys / "signer.secret.pem").chmod(0o640)
    house.public("owner").write_text("nonsense")
    answer = house("show", house.keys, status=1)
    assert len(answer["keys"]) == 3
    assert len(answer["notes"]) == 2
    assert "will not be used; close it with `chmod 600" in house.said
    assert "is not a public key of Ed25519" in house.said
