import stat
from pathlib import Path

import pytest
import zmq.auth

from st4vla.contracts.errors import KeyFileError, StorageError, UsageError
from st4vla.runtime import key_storage
from st4vla.runtime.key_files import (
    KeyPair,
    fingerprint,
    inspect,
    make_pair,
    read_pair,
    read_public,
    write_pair,
    write_public,
)


@pytest.fixture
def pair() -> KeyPair:
    return make_pair()


def test_a_pair_survives_the_disk_and_only_its_owner_can_read_the_secret(tmp_path: Path, pair: KeyPair) -> None:
    public, secret = write_pair(tmp_path / "keys", "robot", pair)
    assert (public.name, secret.name) == ("robot.key", "robot.key_secret")
    assert read_pair(secret) == pair
    assert read_public(public) == pair.public
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert pair.secret not in public.read_text()
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {"robot.key", "robot.key_secret"}


def test_the_secret_is_closed_to_others_before_it_has_its_name(
    tmp_path: Path, pair: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    rename = Path.replace

    def spy(self: Path, target: Path) -> Path:
        seen.append((target.name, stat.S_IMODE(self.stat().st_mode)))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    write_pair(tmp_path, "robot", pair)
    assert seen == [("robot.key_secret", 0o600), ("robot.key", 0o644)]


def test_zmq_auth_reads_our_files_and_we_read_its(tmp_path: Path, pair: KeyPair) -> None:
    public, secret = write_pair(tmp_path, "ours", pair)
    assert zmq.auth.load_certificate(secret) == (pair.public.encode(), pair.secret.encode())
    assert zmq.auth.load_certificate(public) == (pair.public.encode(), None)
    theirs_public, theirs_secret = map(Path, zmq.auth.create_certificates(tmp_path, "theirs", {"owner": "a = b"}))
    theirs_secret.chmod(0o600)
    found = read_pair(theirs_secret)
    assert found.public == read_public(theirs_public)
    assert (found.public.encode(), found.secret.encode()) == zmq.auth.load_certificate(theirs_secret)


def test_keys_that_are_there_are_replaced_by_force_only(tmp_path: Path, pair: KeyPair) -> None:
    public, secret = write_pair(tmp_path, "robot", pair)
    other = make_pair()
    with pytest.raises(UsageError, match="is there already; choose another name, or overwrite it with --force"):
        write_pair(tmp_path, "robot", other)
    secret.unlink()
    with pytest.raises(UsageError, match=r"robot\.key is there already"):
        write_pair(tmp_path, "robot", other)
    write_pair(tmp_path, "robot", other, force=True)
    assert (read_pair(secret), read_public(public)) == (other, other.public)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644])
def test_a_secret_that_others_can_get_at_is_refused(tmp_path: Path, pair: KeyPair, mode: int) -> None:
    _, secret = write_pair(tmp_path, "robot", pair)
    secret.chmod(mode)
    with pytest.raises(KeyFileError, match=f"has mode {mode:03o}.* close it with `chmod 600 .*key_secret`"):
        read_pair(secret)
    secret.chmod(0o400)
    assert read_pair(secret) == pair


def test_public_and_secret_files_are_not_taken_for_each_other(tmp_path: Path, pair: KeyPair) -> None:
    public, secret = write_pair(tmp_path, "robot", pair)
    public.chmod(0o600)
    with pytest.raises(KeyFileError, match=r"holds a public key only; name the file that ends in \.key_secret"):
        read_pair(public)
    with pytest.raises(KeyFileError, match="holds a secret key; use the public file"):
        read_public(secret)


def test_what_is_not_there_or_not_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="is not there; make a key with `st4vla keys make"):
        read_public(tmp_path / "none.key")
    with pytest.raises(KeyFileError, match="is not a file"):
        read_public(tmp_path)
    with pytest.raises(KeyFileError, match="is not a file"):
        read_public(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", "it has no public-key in a section `curve`"),
        (b"\xff\xfe", "it is not text"),
        (b'metadata\n    public-key = "x"\n', "it has no public-key"),
        (b'curve\n    public-key = "short"\n', "its public-key is not 40 characters of Z85"),
        (b'curve\n    public-key = "' + b"~" * 40 + b'"\n', "its public-key is not 40 characters of Z85"),
        (b'curve\n    public-key = "' + b"#" * 40 + b'"\n', "its public-key is not 40 characters of Z85"),
        ('curve\n    public-key = "' + "é" * 40 + '"\n', "its public-key is not 40 characters of Z85"),
        (b'curve\n    public-key = "a"\n    public-key = "b"\n', "line 3 says public-key again"),
    ],
)
def test_what_is_no_certificate_is_refused_and_told_why(tmp_path: Path, text: bytes | str, match: str) -> None:
    path = tmp_path / "odd.key"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(KeyFileError, match=match):
        read_public(path)


def test_halves_that_do_not_belong_together_are_refused_without_a_word_of_the_secret(
    tmp_path: Path, pair: KeyPair
) -> None:
    other = make_pair()
    _, secret = write_pair(tmp_path, "robot", KeyPair(other.public, pair.secret))
    with pytest.raises(KeyFileError, match="its public key is not that of its secret key") as caught:
        read_pair(secret)
    assert pair.secret not in str(caught.value)
    secret.write_text(secret.read_text().replace(pair.secret, pair.secret[:-1]))
    with pytest.raises(KeyFileError, match="its secret-key is not 40 characters") as caught:
        read_pair(secret)
    assert pair.secret[:10] not in str(caught.value)
    assert pair.secret not in repr(pair)


def test_a_file_of_either_kind_can_be_looked_into(tmp_path: Path, pair: KeyPair) -> None:
    public, secret = write_pair(tmp_path, "robot", pair)
    secret.chmod(0o644)
    assert inspect(public) == (pair.public, None)
    assert inspect(secret) == (pair.public, 0o644)


def test_a_fingerprint_is_that_of_the_key_itself() -> None:
    # A key of ZeroMQ's documentation, whose 32 bytes went through `openssl dgst -sha256 -binary | base64`.
    assert (
        fingerprint("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7") == "SHA256:UiUB9OemP2Hdd21+1oKRBMgVAiTJW5bZXRioJUnsVdM"
    )


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, pair: KeyPair) -> None:
    for name in ("../robot", "a/b", ".hidden", "", "a\n", "x" * 65):
        with pytest.raises(UsageError, match="cannot name a key"):
            write_pair(tmp_path, name, pair)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_no_more_is_said(tmp_path: Path, pair: KeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(key_storage, "write_atomically", full)
    with pytest.raises(StorageError, match=r"robot\.key cannot be written: No space left on device"):
        write_public(tmp_path / "robot.key", "robot", pair.public)
