import logging
import os
import time
from pathlib import Path

import pytest

from st4vla.contracts.errors import KeyFileError
from st4vla.runtime.allow_list import AllowList
from st4vla.runtime.key_files import make_pair, write_pair, write_public


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "clients"


def add(folder: Path, name: str) -> str:
    public = make_pair().public
    write_public(folder / f"{name}.key", name, public)
    return public


def test_files_that_come_go_and_change_count_from_the_next_look(folder: Path) -> None:
    keys = AllowList(folder)
    assert dict(keys.allowed) == {}
    robot = add(folder, "robot")
    assert keys.refresh()
    assert dict(keys.allowed) == {robot: "robot"}
    other = add(folder, "other")
    assert keys.refresh()
    assert dict(keys.allowed) == {robot: "robot", other: "other"}
    changed = add(folder, "robot")
    assert keys.refresh()
    assert dict(keys.allowed) == {changed: "robot", other: "other"}
    (folder / "other.key").unlink()
    assert keys.refresh()
    assert dict(keys.allowed) == {changed: "robot"}


def test_a_look_that_finds_nothing_new_keeps_the_list_itself(folder: Path) -> None:
    add(folder, "robot")
    keys = AllowList(folder)
    before = keys.allowed
    assert not keys.refresh()
    assert keys.allowed is before


def test_a_folder_that_is_gone_lets_nobody_in(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(folder, "robot")
    keys = AllowList(folder)
    folder.rename(folder.with_name("elsewhere"))
    assert keys.refresh()
    assert not keys.allowed
    assert "clients that are let in: none" in caplog.text
    folder.with_name("elsewhere").rename(folder)
    assert keys.refresh()
    assert list(keys.allowed.values()) == ["robot"]


def test_a_file_that_cannot_be_used_is_refused_at_first_and_left_out_later(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    robot = add(folder, "robot")
    keys = AllowList(folder)
    # As a copy does it: the name is there before the bytes.
    (folder / "half.key").touch()
    assert keys.refresh()
    assert dict(keys.allowed) == {robot: "robot"}
    assert "no client is let in by this file" in caplog.text
    caplog.clear()
    assert not keys.refresh()
    assert not caplog.text
    with pytest.raises(KeyFileError, match=r"half\.key is not a ZeroMQ CURVE certificate"):
        AllowList(folder)
    half = add(folder, "half")
    assert keys.refresh()
    assert keys.allowed[half] == "half"


def test_only_public_key_files_count(folder: Path) -> None:
    write_pair(folder, "robot", make_pair())
    (folder / "notes.txt").write_text("not a key")
    keys = AllowList(folder)
    assert list(keys.allowed.values()) == ["robot"]
    (folder / "robot.key_secret").rename(folder / "robot.key")
    keys.refresh()
    assert not keys.allowed


def test_single_files_may_be_named(folder: Path) -> None:
    robot = add(folder, "robot")
    add(folder, "other")
    keys = AllowList(folder / "robot.key")
    assert dict(keys.allowed) == {robot: "robot"}
    (folder / "robot.key").unlink()
    assert keys.refresh()
    assert not keys.allowed
    with pytest.raises(KeyFileError, match="is not there"):
        AllowList(folder / "robot.key")


def test_a_list_that_nobody_looks_at_any_more_is_empty(folder: Path) -> None:
    add(folder, "robot")
    keys = AllowList(folder, stale_ns=20_000_000)
    assert keys.allowed
    time.sleep(0.03)
    assert not keys.allowed
    keys.refresh()
    assert keys.allowed


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_lets_nobody_in(folder: Path) -> None:
    add(folder, "robot")
    folder.chmod(0)
    try:
        assert not AllowList(folder).allowed
    finally:
        folder.chmod(0o755)


def test_the_names_are_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    keys = AllowList(folder)
    for name in ("robot", "arm"):
        add(folder, name)
    keys.refresh()
    assert "clients that are let in: arm, robot" in caplog.text


def test_a_guest_is_let_in_without_a_file_and_a_key_that_was_taken_away_stays_away(folder: Path) -> None:
    add(folder, "robot")
    keys = AllowList(folder)
    keys.invite("guest", "probe")
    assert set(keys.allowed.values()) == {"robot", "probe"}
    (folder / "robot.key").unlink()
    assert keys.refresh()
    assert dict(keys.allowed) == {"guest": "probe"}
    keys.uninvite("guest")
    assert not keys.allowed
