"""`st4vla top`: how a server is, live in a terminal."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import msgspec
from typing_extensions import Self

from st4vla.contracts.command_line import Command, require_positive
from st4vla.contracts.errors import ServerUnreachableError
from st4vla.runtime.printable import fit
from st4vla.runtime.snapshot import Snapshot
from st4vla.runtime.top_page import Line, draw, draw_absent
from st4vla.runtime.watching import fetch_snapshot, monitor_url

SGR = {"good": "32;1", "warn": "33", "bad": "31;1", "head": "4", "dim": "2"}


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url",
        nargs="?",
        default="http://127.0.0.1:9464",
        help="where `st4vla serve --metrics` listens (default: %(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="print one page and end; status 1 when nobody answers")
    parser.add_argument("--json", action="store_true", help="print snapshots as JSON lines, not as pages")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two looks (default: %(default)s)")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    require_positive(options, "interval")
    url = monitor_url(options.url)
    if options.once:
        snapshot = fetch_snapshot(url)
        if options.json:
            _print_json(snapshot)
        else:
            _print_page(draw(snapshot, url, shutil.get_terminal_size().columns))
        return {"url": url, "health": snapshot.health}
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if options.json:
        return _watch(url, options.interval, stop, None, json=True)
    if not sys.stdout.isatty():
        return _watch(url, options.interval, stop, None, json=False)
    with _Screen() as screen:
        return _watch(url, options.interval, stop, screen, json=False)


def _watch(url: str, interval_s: float, stop: threading.Event, screen: _Screen | None, *, json: bool) -> dict[str, Any]:
    """Look again and again; a server that goes away is waited for."""
    seen, missed, last = 0, 0, None
    while not stop.is_set():
        width = shutil.get_terminal_size().columns
        try:
            last = fetch_snapshot(url)
        except ServerUnreachableError as error:
            missed += 1
            told: object = {"error": str(error)}
            page = draw_absent(url, str(error), last, width)
        else:
            seen += 1
            told, page = last, draw(last, url, width)
        if json:
            _print_json(told)
        elif screen is None:
            _print_page([*page, Line("")])
        else:
            screen.show(page)
        stop.wait(interval_s)
    return {"url": url, "snapshots": seen, "missed": missed, "ok": seen > 0}


def _print_json(told: Snapshot | object) -> None:
    print(msgspec.json.encode(told).decode(), flush=True)


def _print_page(page: list[Line]) -> None:
    print("\n".join(line.text.rstrip() for line in page), flush=True)


class _Screen:
    """A terminal's other screen, used as a context manager.

    Every row is written whole and in place, and nothing is erased before, so that nothing flickers; rows do not wrap
    even if the terminal has just become narrower.
    """

    def __enter__(self) -> Self:
        self._write("\033[?1049h\033[?25l\033[?7l")
        return self

    def show(self, page: list[Line]) -> None:
        """Show a page, or as much of it as there are rows for, and how much that leaves out."""
        width, height = shutil.get_terminal_size()
        if len(page) > height:
            page = [*page[: height - 1], Line(fit(f"and {len(page) - height + 1} more lines", width), "dim")]
        rows = [_painted(line, width) for line in page[:height]]
        rows += [" " * width] * (height - len(rows))
        # Terminals that know the first and the last sequence show nothing of what is between until it is complete.
        placed = "".join(f"\033[{row};1H{text}" for row, text in enumerate(rows, 1))
        self._write(f"\033[?2026h{placed}\033[?2026l")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write("\033[?7h\033[?25h\033[?1049l")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _painted(line: Line, width: int) -> str:
    text = line.text.ljust(width)
    code = SGR.get(line.style)
    return text if code is None or "NO_COLOR" in os.environ else f"\033[{code}m{text}\033[0m"


COMMAND = Command("Show live how a server is: rates, ages, latencies, drops and clients.", _configure, _run)
