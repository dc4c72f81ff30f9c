"""How a flash goes, live in a terminal: a line for each device that is at work, and a line for the whole."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from typing_extensions import Self

from st4vla.contracts.device_status import STEPS
from st4vla.contracts.flash_messages import Progress
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.reporting import MESSAGE_CHARACTERS, TEXT_CHARACTERS, end_line, megabytes
from st4vla.export.flashing.results import GOOD, Result
from st4vla.runtime.printable import printable

REFRESHES_PER_S = 8
BAR_COLUMNS = 20
#: Rows of the terminal that are not for devices: the line for the whole, one for those left out, one for the cursor.
OTHER_ROWS = 3


class _Row:
    """A device at work."""

    def __init__(self) -> None:
        self.begin_s = time.monotonic()
        self.step = "connect"
        self.text = ""
        self.fraction: float | None = None
        self.bytes = (0, 0)


class Screen:
    """Shows running devices in place, and writes what has ended above them. Used as a context manager."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        self._rows: dict[str, _Row] = {}
        self._ended: Counter[str] = Counter()
        self._wave = "connecting"
        self._begin_s = time.monotonic()
        self._gone_bytes = 0
        self._live = Live(self, console=console, refresh_per_second=REFRESHES_PER_S, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Write a sentence above."""
        self._console.print(Text(text))

    def wave(self, name: str, devices: Collection[Device]) -> None:
        """Show which wave it is."""
        self._wave = name
        self.say(f"{name}: {', '.join(device.title for device in devices)}")

    def begin(self, device: Device) -> None:
        """Show a line for a device."""
        self._rows[device.title] = _Row()

    def note(self, device: Device, text: str) -> None:
        """Show what happened, in the device's line."""
        row = self._rows.get(device.title)
        if row is not None:
            row.text = printable(text, TEXT_CHARACTERS)

    def sent(self, device: Device, done: int, total: int) -> None:
        """Show how much of what is sent has gone."""
        row = self._rows[device.title]
        row.step, row.bytes = "receive", (done, total)
        row.fraction = done / total if total else None

    def progress(self, device: Device, progress: Progress) -> None:
        """Show a step."""
        row = self._rows[device.title]
        if progress.text or progress.step != row.step:
            row.text = printable(progress.text, TEXT_CHARACTERS)
        row.step, row.fraction = progress.step, progress.fraction

    def end(self, result: Result) -> None:
        """Write how a device ended, and drop its line."""
        self._rows.pop(result.device, None)
        self._ended[result.state] += 1
        self._gone_bytes += result.sent_bytes
        style = "green" if result.state in GOOD else "red"
        self._console.print(Text(printable(end_line(result), MESSAGE_CHARACTERS), style=style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw what is at work, as much of it as there are rows for."""
        # The rows change while a thread of rich's draws them.
        rows = list(self._rows.items())
        room = max(1, options.max_height - OTHER_ROWS)
        shown = rows if len(rows) <= room else rows[:room]
        grid = Table.grid(padding=(0, 1))
        for ratio in (None, None, None, None, 1):
            grid.add_column(ratio=ratio, no_wrap=True, overflow="ellipsis")
        for title, row in shown:
            grid.add_row(title, _clock(row.begin_s), _step(row), _bar(row), row.text or _bytes(row))
        yield grid
        if len(rows) > len(shown):
            yield Text(f"and {len(rows) - len(shown)} more", style="dim")
        yield self._totals(len(rows))

    def _totals(self, running: int) -> Text:
        good = sum(self._ended[state] for state in GOOD)
        ended = sum(self._ended.values())
        parts = [
            f"{self._wave}  {_clock(self._begin_s)}",
            f"{good} of {self._total} good",
            f"{ended - good} not",
            f"{running} running",
            f"{max(0, self._total - ended - running)} waiting",
            f"{megabytes(self._gone_bytes + sum(row.bytes[0] for row in list(self._rows.values())))} sent",
        ]
        return Text("  ".join(parts), style="bold", no_wrap=True, overflow="ellipsis")


def _step(row: _Row) -> str:
    if row.step not in STEPS:
        return row.step
    return f"{STEPS.index(row.step) + 1:2d}/{len(STEPS)} {row.step}"


def _bar(row: _Row) -> ProgressBar | Text:
    if row.fraction is None:
        return Text(" " * BAR_COLUMNS)
    return ProgressBar(total=1.0, completed=min(1.0, max(0.0, row.fraction)), width=BAR_COLUMNS)


def _bytes(row: _Row) -> str:
    done, total = row.bytes
    if row.step != "receive" or not total:
        return ""
    seconds = max(1e-3, time.monotonic() - row.begin_s)
    return f"{megabytes(done)} of {megabytes(total)}, {megabytes(int(done / seconds))}/s"


def _clock(begin_s: float) -> str:
    minutes, seconds = divmod(int(time.monotonic() - begin_s), 60)
    return f"{minutes:2d}:{seconds:02d}"
