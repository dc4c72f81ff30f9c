import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from st4vla.runtime.flashing.owner import become_owner


@pytest.fixture
def given_up(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Return what a process of root has given up, in its order."""
    found: list[tuple[str, object]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda value, name=name: found.append((name, value)))
    return found


def owned_by(user: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda _: True)
    monkeypatch.setattr(Path, "stat", lambda _: SimpleNamespace(st_uid=user, st_gid=user + 1))


def test_root_becomes_the_owner_of_the_device_s_folder(
    given_up: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    owned_by(998, monkeypatch)
    assert become_owner(Path("/var/lib/st4vla"))
    assert given_up == [("setgroups", []), ("setgid", 999), ("setuid", 998)]


def test_root_s_own_folder_and_one_that_is_not_there_change_nothing(
    given_up: list[tuple[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not become_owner(tmp_path / "none")
    owned_by(0, monkeypatch)
    assert not become_owner(Path("/var/lib/st4vla"))
    assert given_up == []


def test_nobody_else_tries(given_up: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    owned_by(998, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not become_owner(Path("/var/lib/st4vla"))
    assert given_up == []
