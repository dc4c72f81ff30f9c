import json
import shutil
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest

from st4vla.contracts.command_line import GROUP, main
from st4vla.contracts.envelope import read_envelope
from st4vla.contracts.release import RELEASE_TYPE, LatencyBudget, Release, Requirements
from st4vla.runtime.signing import read_trust
from st4vla.runtime.signing.public_keys import read_public_key
from st4vla.runtime.signing.secret_keys import make_signing_key, read_secret_key
from st4vla.runtime.signing.statements import sign_statement
from st4vla.runtime.signing.trust_changes import new_trust, revoke_key, sign_trust

TINY = Path(__file__).resolve().parents[3] / "bundles" / "tiny"


class Terminal:
    """Runs `st4vla sign` on a copy of the tiny bundle, and keeps what it said."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.bundle, self.keys, self.list = folder / "tiny", folder / "keys", folder / "trust.json"
        shutil.copytree(TINY, self.bundle)
        self._capsys = capsys
        self.refusal = ""

    def __call__(self, *words: str | Path, status: int = 0) -> dict[str, Any]:
        assert main(["sign", str(self.bundle), *map(str, words)]) == status
        captured = self._capsys.readouterr()
        self.refusal = captured.err
        answer: dict[str, Any] = json.loads(captured.out.splitlines()[-1])
        assert answer["ok"] is (status == 0)
        return answer

    def secret(self, name: str) -> Path:
        return self.keys / f"{name}.secret.pem"

    def release(self) -> Release:
        data = (self.bundle / "release.json").read_bytes()
        return msgspec.json.decode(read_envelope(data, "it").body, type=Release)


@pytest.fixture
def sign(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    entry = metadata.EntryPoint("sign", "st4vla.export.commands.sign:COMMAND", GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry])
    terminal = Terminal(tmp_path, capsys)
    for name, role in (("owner", "trust"), ("signer", "release"), ("stranger", "release")):
        make_signing_key(terminal.keys, name, (role,))
    known = [read_public_key(terminal.keys / f"{name}.pub.pem") for name in ("owner", "signer")]
    trust = new_trust([(key, key.roles) for key in known])
    terminal.list.write_bytes(sign_trust(trust, None, [read_secret_key(terminal.secret("owner"))]))
    return terminal


def test_a_bundle_is_signed_and_its_signature_verified(sign: Terminal) -> None:
    begin = int(time.time())
    signed = sign("--key", sign.secret("signer"), "--trust", sign.list, "--note", "grasps mugs")
    assert begin <= signed["counter"] <= time.time() + 1
    release = sign.release()
    assert (release.bundle_name, release.manifest_sha256, release.note) == ("tiny", signed["digest"], "grasps mugs")
    verified = sign("--verify", "--trust", sign.list)
    assert verified == {**signed, "key_ids": [read_public_key(sign.keys / "signer.pub.pem").key_id]}


def test_requirements_and_budget_are_in_the_release(sign: Terminal) -> None:
    words = ["--machine", "aarch64", "--jetpack", "36.4", "--jetpack", "36.5", "--backend", "tensorrt"]
    words += ["--power-mode", "MAXN", "--memory-gb", "7.4", "--system1-ms", "40", "--system2-ms", "800"]
    sign("--key", sign.secret("signer"), *words)
    expected = Requirements(("aarch64",), ("36.4", "36.5"), ("tensorrt",), ("MAXN",), 7_400_000_000)
    assert (sign.release().requires, sign.release().budget) == (expected, LatencyBudget(40, 800))


def test_the_counter_grows_however_wrong_the_clock_is(sign: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ("--key", sign.secret("signer"))
    assert sign(*key, "--counter", "2000000000")["counter"] == 2_000_000_000
    monkeypatch.setattr(time, "time", lambda: 12.0)
    assert sign(*key)["counter"] == 2_000_000_001
    sign(*key, "--counter", "2000000001", status=2)
    assert "release.json has 2000000001 already" in sign.refusal
    assert "choose 2000000002 or more" in sign.refusal
    (sign.bundle / "release.json").unlink()
    assert sign(*key)["counter"] == 12
    monkeypatch.setattr(time, "time", lambda: -1.0)
    (sign.bundle / "release.json").unlink()
    assert sign(*key)["counter"] == 1


def test_the_counter_of_another_bundles_release_does_not_count(sign: Terminal) -> None:
    other = Release(1, "large", "0" * 64, 2**62, "")
    envelope = sign_statement(RELEASE_TYPE, other, [read_secret_key(sign.secret("signer"))])
    (sign.bundle / "release.json").write_bytes(envelope)
    assert sign("--key", sign.secret("signer"))["counter"] < 2**62


def test_a_release_that_cannot_be_read_is_named_and_nothing_is_signed(sign: Terminal) -> None:
    (sign.bundle / "release.json").write_text("nonsense")
    sign("--key", sign.secret("signer"), status=1)
    assert "release.json cannot be read, so that its counter is not known" in sign.refusal
    assert (sign.bundle / "release.json").read_text() == "nonsense"


@pytest.mark.parametrize("name", ["bridge.onnx", "planner.onnx.data", "golden.npz", "tokenizer.json"])
def test_a_bundle_that_is_not_whole_is_not_signed(sign: Terminal, name: str) -> None:
    data = bytearray((sign.bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (sign.bundle / name).write_bytes(data)
    assert sign("--key", sign.secret("signer"), status=1)["error"] == "FileAlteredError"
    assert f"{name} was altered" in sign.refusal
    (sign.bundle / name).unlink()
    assert sign("--key", sign.secret("signer"), status=1)["error"] == "FileMissingError"
    assert not (sign.bundle / "release.json").exists()


def test_a_key_that_devices_do_not_trust_writes_nothing(sign: Terminal) -> None:
    for name, why in (("stranger", "is not on the trust list"), ("owner", "is trusted for 'trust', not for 'release'")):
        sign("--key", sign.secret(name), "--trust", sign.list, status=1)
        assert why in sign.refusal
    assert not (sign.bundle / "release.json").exists()


def test_old_and_new_key_sign_together(sign: Terminal) -> None:
    signed = sign("--key", sign.secret("stranger"), "--key", sign.secret("signer"), "--trust", sign.list)
    assert len(signed["key_ids"]) == 2
    assert sign("--verify", "--trust", sign.list)["key_ids"] == signed["key_ids"][1:]


def test_verifying_names_what_is_wrong(sign: Terminal) -> None:
    sign("--verify", "--trust", sign.list, status=1)
    assert "release.json is not there, so the bundle is not signed; sign it with `st4vla sign" in sign.refusal
    sign("--key", sign.secret("signer"))
    manifest = sign.bundle / "bundle.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"preset": "tiny"', '"preset": "tinx"'))
    assert sign("--verify", "--trust", sign.list, status=1)["error"] == "FileAlteredError"
    assert "bundle.json is not the one that was signed" in sign.refusal
    manifest.write_text(text)
    (sign.bundle / "golden.npz").write_bytes(b"")
    sign("--verify", "--trust", sign.list, status=1)
    assert "golden.npz was altered" in sign.refusal
    shutil.copy(TINY / "golden.npz", sign.bundle)
    before = read_trust(sign.list)
    trust = revoke_key(before, "signer", "left on a laptop that was stolen")
    sign.list.write_bytes(sign_trust(trust, before, [read_secret_key(sign.secret("owner"))]))
    sign("--verify", "--trust", sign.list, status=1)
    assert "key 'signer' was revoked: left on a laptop that was stolen" in sign.refusal


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "name a secret key with --key"),
        (["--verify"], "--verify needs the list of trusted keys"),
        (["--key", "KEY", "--counter", "0"], "--counter 0: must be at least 1"),
        (["--key", "KEY", "--system1-ms", "-1"], "--system1-ms -1: must be positive"),
        (["--key", "KEY", "--memory-gb", "nan"], "--memory-gb nan: must be positive"),
    ],
)
def test_options_that_mean_nothing_are_refused(sign: Terminal, words: list[str], why: str) -> None:
    sign(*(sign.secret("signer") if word == "KEY" else word for word in words), status=2)
    assert why in sign.refusal
