import importlib
import io
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from st4vla.contracts.errors import KeyFileError, MissingExtraError, StorageError, UsageError
from st4vla.runtime.signing import secret_keys
from st4vla.runtime.signing.public_keys import PublicKey, read_public_key, write_public_key
from st4vla.runtime.signing.secret_keys import (
    PASSPHRASE_VARIABLE,
    choose_passphrase,
    inspect_secret_key,
    make_signing_key,
    read_secret_key,
)


def openssl(path: Path, *words: str) -> Path:
    subprocess.run(["openssl", *words, "-out", path], check=True, capture_output=True)
    path.chmod(0o600)
    return path


def test_a_key_survives_the_disk_and_only_its_owner_can_read_the_secret(tmp_path: Path) -> None:
    key, public, secret = make_signing_key(tmp_path / "keys", "release", ("release",))
    assert (public.name, secret.name) == ("release.pub.pem", "release.secret.pem")
    assert read_public_key(public) == key
    loaded = read_secret_key(secret)
    assert (loaded.public, loaded.key_id) == (key.public, key.key_id)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert repr(loaded) == f"SecretKey({key.key_id[:12]}...)"
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {public.name, secret.name}


def test_keys_that_are_there_are_replaced_by_force_only(tmp_path: Path) -> None:
    key, _, secret = make_signing_key(tmp_path, "release", ("release",))
    with pytest.raises(UsageError, match="is there already; choose another name, or overwrite it with --force"):
        make_signing_key(tmp_path, "release", ("release",))
    assert read_secret_key(secret).key_id == key.key_id
    make_signing_key(tmp_path, "release", ("release",), force=True)
    assert read_secret_key(secret).key_id != key.key_id
    with pytest.raises(UsageError, match="cannot name a key"):
        make_signing_key(tmp_path, "../release", ("release",))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644])
def test_a_secret_that_others_can_get_at_is_refused(tmp_path: Path, mode: int) -> None:
    _, _, secret = make_signing_key(tmp_path, "release", ("release",))
    secret.chmod(mode)
    with pytest.raises(KeyFileError, match=f"has mode {mode:03o}.* close it with `chmod 600 .*secret.pem`"):
        read_secret_key(secret)
    assert inspect_secret_key(secret)[1] == mode


def test_a_passphrase_opens_its_key_and_no_other_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _, secret = make_signing_key(tmp_path, "release", ("release",), passphrase=b"horse battery")
    prompts: list[str] = []

    def ask(prompt: str) -> bytes:
        prompts.append(prompt)
        return b"horse battery"

    assert read_secret_key(secret, ask).key_id == key.key_id
    assert prompts == [f"Passphrase of {secret}: "]
    assert inspect_secret_key(secret) == (None, 0o600)
    with pytest.raises(KeyFileError, match=r"secret\.pem cannot be used: the passphrase is wrong, or it is damaged"):
        read_secret_key(secret, lambda _: b"donkey")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "horse battery")
    assert read_secret_key(secret).key_id == key.key_id
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(KeyFileError, match="there is no terminal to ask at; set ST4VLA_KEY_PASSPHRASE"):
        read_secret_key(secret)


def test_a_new_passphrase_is_typed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "stdin", Terminal())
    typed = iter(["one", "one", "one", "two", ""])
    monkeypatch.setattr(secret_keys.getpass, "getpass", lambda _: next(typed))
    assert choose_passphrase("release") == b"one"
    with pytest.raises(UsageError, match="typed differently the second time"):
        choose_passphrase("release")
    with pytest.raises(UsageError, match="an empty passphrase protects nothing"):
        choose_passphrase("release")


def test_public_and_secret_files_are_not_taken_for_each_other(tmp_path: Path) -> None:
    _, public, secret = make_signing_key(tmp_path, "release", ("release",))
    with pytest.raises(KeyFileError, match=r"holds no secret key; name the file that ends in .secret.pem"):
        read_secret_key(public)
    with pytest.raises(KeyFileError, match="holds a secret key; name its public file"):
        read_public_key(secret)
    with pytest.raises(KeyFileError, match="is not there; make a key with `st4vla keys signing NAME"):
        read_secret_key(tmp_path / "none")
    with pytest.raises(KeyFileError, match="is not a file"):
        read_public_key(tmp_path)


def test_keys_of_other_kinds_and_damaged_ones_are_refused_without_a_word_of_them(tmp_path: Path) -> None:
    other = openssl(tmp_path / "x.secret.pem", "genpkey", "-algorithm", "X25519")
    with pytest.raises(KeyFileError, match=r"it holds a key of another kind \(X25519\), not Ed25519"):
        read_secret_key(other)
    with pytest.raises(KeyFileError, match="is not a public key of Ed25519: its key is of another kind"):
        read_public_key(openssl(tmp_path / "x.pub.pem", "pkey", "-in", str(other), "-pubout"))
    _, public, secret = make_signing_key(tmp_path, "release", ("release",))
    body = secret.read_text().splitlines()[1]
    secret.write_text(secret.read_text().replace(body, body[:-9]))
    with pytest.raises(KeyFileError, match="cannot be used: it is damaged") as caught:
        read_secret_key(secret)
    assert body[:20] not in str(caught.value)
    assert caught.value.__cause__ is None
    for text, why in (
        ("nothing", "it has no PEM block PUBLIC KEY"),
        (public.read_text().replace("MCow", "MC-w"), "PEM"),
    ):
        public.write_text(text)
        with pytest.raises(KeyFileError, match=why):
            read_public_key(public)
    public.write_text("-----BEGIN PUBLIC KEY-----\nMCowB\n-----END PUBLIC KEY-----\n")
    with pytest.raises(KeyFileError, match="is not Base64"):
        read_public_key(public)


def test_a_key_that_openssl_made_can_sign_and_is_called_as_its_file(tmp_path: Path) -> None:
    secret = openssl(tmp_path / "theirs.secret.pem", "genpkey", "-algorithm", "ED25519")
    public = openssl(tmp_path / "theirs.pub.pem", "pkey", "-in", str(secret), "-pubout")
    key = read_public_key(public)
    assert key == PublicKey("theirs", read_secret_key(secret).public)
    with pytest.raises(KeyFileError, match="cannot name a key"):
        read_public_key(openssl(tmp_path / "a b.pub.pem", "pkey", "-in", str(secret), "-pubout"))


def test_a_disk_that_takes_no_more_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(StorageError, match=r"release\.secret\.pem cannot be written"):
        make_signing_key(tmp_path / "folder", "release", ("release",))
    with pytest.raises(StorageError, match=r"key\.pub\.pem cannot be written"):
        write_public_key(tmp_path / "folder" / "key.pub.pem", PublicKey("key", bytes(32)))


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = "st4vla.runtime.signing.ed25519"
    importlib.import_module(module)
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    with pytest.raises(MissingExtraError, match=r"need the package cryptography.*pip install 'st4vla\[device\]'"):
        make_signing_key(tmp_path, "release", ("release",))


def test_nothing_imports_the_package_before_it_is_needed() -> None:
    code = (
        "import sys, st4vla.runtime.signing, st4vla.runtime.signing.trust_changes, st4vla.runtime.commands.keys; "
        "sys.exit(any(name.split('.')[0] == 'cryptography' for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
