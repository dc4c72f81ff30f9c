from pathlib import Path

import pytest

from st4vla.contracts.errors import UsageError
from st4vla.contracts.folders import replaced_folder


def make(target: Path, text: str) -> None:
    with replaced_folder(target, "made.json", "things") as work:
        (work / "made.json").write_text(text)


def test_a_new_folder_takes_the_place_of_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "things"
    for text in ("old", "new"):
        make(target, text)
    assert (target / "made.json").read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["things"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    make(tmp_path / "things", "old")
    with pytest.raises(TypeError):
        make(tmp_path / "things", None)  # type: ignore[arg-type]
    assert (tmp_path / "things" / "made.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["things"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "things").mkdir()
    make(tmp_path / "things", "new")
    assert (tmp_path / "things" / "made.json").is_file()


def test_files_and_folders_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    for name, match in (("file", "is a file; name a folder for the things"), ("folder", "holds something other than")):
        with pytest.raises(UsageError, match=match):
            make(tmp_path / name, "new")
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "thesis.tex").read_text() == "mine"
