import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest

from st4vla.contracts.command_line import GROUP, main
from st4vla.runtime.core import Core
from st4vla.runtime.monitoring import Monitor
from st4vla.runtime.observer import Observer
from st4vla.runtime.policy import NullPolicy

PROGRAM = (
    "from importlib import metadata; from st4vla.contracts import command_line as c;"
    "e = metadata.EntryPoint('top', 'st4vla.runtime.commands.top:COMMAND', c.GROUP);"
    "metadata.entry_points = lambda group: [e]; raise SystemExit(c.main())"
)


@pytest.fixture(autouse=True)
def entry(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [metadata.EntryPoint("top", "st4vla.runtime.commands.top:COMMAND", GROUP)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries)


@pytest.fixture
def url() -> Iterator[str]:
    core, observer = Core(NullPolicy()), Observer("null", "00" * 32)
    monitor = Monitor(observer, "127.0.0.1:0")
    monitor.start()
    core.start()
    observer.serving(core)
    yield monitor.url
    observer.stopping()
    core.stop()
    monitor.close()


class Watch:
    """`st4vla top` in a process of its own, its output in a pipe or in a terminal."""

    def __init__(self, *words: str, terminal: bool) -> None:
        self._far = None
        command = [sys.executable, "-c", PROGRAM, "top", "--interval", "0.05", *words]
        environment = {"LINES": "24", "COLUMNS": "80"} | {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        if terminal:
            self._near, far = pty.openpty()
        else:
            self._near, far = os.pipe()
        self.process = subprocess.Popen(command, stdout=far, env=environment)
        os.close(far)
        self.said = ""

    def until(self, wanted: str, timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while wanted not in self.said:
            assert time.monotonic() < deadline, f"{wanted!r} was not said, but {self.said[-500:]!r}"
            if select.select([self._near], [], [], 0.1)[0]:
                self.said += self._read()

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        while piece := self._read():
            self.said += piece
        os.close(self._near)
        return self.process.wait(10)

    def _read(self) -> str:
        try:
            return os.read(self._near, 65536).decode(errors="replace")
        except OSError:
            # So ends a terminal whose program has ended.
            return ""


def last_line(said: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def test_one_page_is_printed_at_the_width_of_the_terminal_and_ends_with_json(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        assert main(["top", url, "--once"]) == 0
        *page, end = capsys.readouterr().out.splitlines()
        assert page[0].startswith("null 00000000  READY")
        assert len(page[0]) == width
        assert max(map(len, page)) <= width
        assert json.loads(end) == {"url": url, "health": "ready", "ok": True}


def test_a_snapshot_is_printed_as_json_for_programs(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", url.removeprefix("http://"), "--once", "--json"]) == 0
    snapshot, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert (snapshot["bundle_name"], snapshot["health"], end["ok"]) == ("null", "ready", True)


def test_nobody_at_the_address_is_one_line_and_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "127.0.0.1:1", "--once"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["top", "tcp://127.0.0.1:1", "--once"]) == 2
    assert main(["top", "127.0.0.1:1", "--interval", "0"]) == 2


def test_a_terminal_is_drawn_in_place_and_given_back_as_it_was(url: str) -> None:
    watch = Watch(url, terminal=True)
    watch.until("READY")
    frames = watch.said.count("\033[?2026h")
    while watch.said.count("\033[?2026l") < frames + 2:
        watch.until("\033[?2026l")
        watch.said += watch._read()
    assert watch.end() == 0
    assert watch.said.startswith("\033[?1049h\033[?25l\033[?7l")
    shown, _, rest = watch.said.rpartition("\033[?7h\033[?25h\033[?1049l")
    assert last_line(rest)["missed"] == 0
    drawn = re.findall(r"\033\[\?2026h(.*?)\033\[\?2026l", shown, re.DOTALL)
    assert len(drawn) >= 3
    for frame in drawn:
        rows = re.split(r"\033\[\d+;1H", frame)[1:]
        assert [len(re.sub(r"\033\[\d*(;\d+)?m", "", row)) for row in rows] == [80] * 24
        assert "\033[2J" not in frame
        assert "\033[K" not in frame


def test_a_server_that_goes_away_and_comes_back_is_waited_for() -> None:
    observer = Observer("null", "00")
    monitor = Monitor(observer, "127.0.0.1:0")
    monitor.start()
    watch = Watch(monitor.url, terminal=False)
    watch.until("STARTING")
    monitor.close()
    watch.until("Connection refused")
    watch.until("It last answered:")
    watch.said = ""
    again = Monitor(observer, monitor.url.removeprefix("http://"))
    again.start()
    watch.until("STARTING\x20")
    assert watch.end() == 0
    again.close()
    assert last_line(watch.said)["missed"] > 0


def test_a_server_that_never_was_there_is_a_status_at_the_end() -> None:
    watch = Watch("127.0.0.1:1", "--json", terminal=False)
    watch.until("Connection refused")
    assert watch.end() == 1
    assert "error" in json.loads(watch.said.splitlines()[0])
    assert last_line(watch.said)["ok"] is False
