import argparse
import importlib.metadata
import json
import os
import subprocess
import sys

import pytest

from st4vla.contracts import command_line
from st4vla.contracts.command_line import Command, main, table
from st4vla.contracts.errors import FileMissingError, UsageError


class Entry:
    """Stands for an installed entry point."""

    def __init__(self, name: str, command: Command) -> None:
        self.name, self._command = name, command

    def load(self) -> Command:
        return self._command


def install(monkeypatch: pytest.MonkeyPatch, run: object) -> None:
    def configure(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--count", type=int, default=1)

    entries = [Entry("probe", Command("Probe things.", configure, run))]  # type: ignore[arg-type]
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: entries if group == command_line.GROUP else []
    )


def test_a_command_ends_with_one_json_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install(monkeypatch, lambda options: {"count": options.count})
    assert main(["probe", "--count", "3"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"count": 3, "ok": True}


@pytest.mark.parametrize(("error", "status"), [(FileMissingError("a\nb"), 1), (UsageError("a b"), 2)])
def test_a_refusal_is_one_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, status: int
) -> None:
    def run(_: argparse.Namespace) -> dict[str, object]:
        raise error

    install(monkeypatch, run)
    assert main(["probe"]) == status
    captured = capsys.readouterr()
    assert captured.err == "st4vla: a b\n"
    assert json.loads(captured.out) == {"ok": False, "error": type(error).__name__, "message": "a b"}


def test_a_result_that_is_not_ok_ends_with_status_one(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, lambda _: {"ok": False})
    assert main(["probe"]) == 1


def test_an_unknown_command_is_answered_with_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, lambda _: {})
    assert main(["prob"]) == 2
    assert "unknown command 'prob'; known are probe" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "Probe things." in capsys.readouterr().out


def test_a_table_aligns_numbers_to_the_right() -> None:
    lines = table([("a", 1.0), ("bcd", 22.5)], ("name", "ms")).splitlines()
    assert lines == ["name     ms", "----  -----", "a      1.00", "bcd   22.50"]


def test_output_that_nobody_reads_to_its_end_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from st4vla.contracts.command_line import main; sys.exit(main(['--help']))"
    ended = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_options_may_stand_among_hosts_where_a_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def configure(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("bundle")
        parser.add_argument("hosts", nargs="*")
        parser.add_argument("--count", type=int, default=1)

    command = Command("Probe.", configure, lambda options: {"hosts": options.hosts}, intermixed=True)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [Entry("probe", command)])
    assert main(["probe", "b", "--count", "3", "x", "y"]) == 0
    assert json.loads(capsys.readouterr().out) == {"hosts": ["x", "y"], "ok": True}
