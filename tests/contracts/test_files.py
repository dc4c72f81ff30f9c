from pathlib import Path

import msgspec
import pytest

from st4vla.contracts.errors import FileAlteredError, FileMissingError, ManifestError
from st4vla.contracts.files import file_entry, read_manifest, verify_files, write_atomically, write_manifest


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format_version: int
    text: str


def test_a_manifest_survives_the_disk(tmp_path: Path) -> None:
    write_manifest(tmp_path / "note.json", Note(1, "hello"))
    assert read_manifest(tmp_path / "note.json", Note, 1) == Note(1, "hello")
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"{", "not a valid manifest"),
        (b'{"format_version": 2}', "format version 2; this build reads 1"),
        (b'{"format_version": 1, "text": "a", "more": 1}', "unknown field `more`"),
        (b'{"format_version": 1, "text": 3}', "Expected `str`, got `int`"),
    ],
)
def test_what_is_not_the_manifest_is_refused(tmp_path: Path, data: bytes, match: str) -> None:
    (tmp_path / "note.json").write_bytes(data)
    with pytest.raises(ManifestError, match=match):
        read_manifest(tmp_path / "note.json", Note, 1)


def test_a_missing_manifest_asks_for_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"is not there; is .* the right folder"):
        read_manifest(tmp_path / "none.json", Note, 1)


def test_missing_altered_and_straying_files_are_each_named(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"one")
    entry = file_entry(tmp_path / "a.bin")
    verify_files(tmp_path, {"a.bin": entry})
    (tmp_path / "a.bin").write_bytes(b"two")
    with pytest.raises(FileAlteredError, match=r"a\.bin was altered"):
        verify_files(tmp_path, {"a.bin": entry})
    with pytest.raises(FileMissingError, match=r"b\.bin is missing"):
        verify_files(tmp_path, {"b.bin": entry})
    with pytest.raises(ManifestError, match="leads out of the folder"):
        verify_files(tmp_path, {"../a.bin": entry})


def test_a_write_that_fails_leaves_the_old_bytes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(tmp_path / "a.bin", b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
