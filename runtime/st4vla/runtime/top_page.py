"""The page of `st4vla top`: a snapshot as lines that are never wider than the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from st4vla.runtime.distribution import Figures
from st4vla.runtime.printable import clean, fit, printable
from st4vla.runtime.snapshot import ClientSnapshot, Drops, Snapshot

#: No narrower page is drawn.
NARROWEST = 60
INDENT = 10
#: Columns of a client's instruction, at least.
INSTRUCTION_COLUMNS = 16
#: Clock offsets in milliseconds grow with the time between the starts of two machines.
DIGEST_CHARACTERS = 8


class Line(NamedTuple):
    """One line, and how it is shown: ``good``, ``warn``, ``bad``, ``head``, ``dim`` or nothing."""

    text: str
    style: str = ""


class _Column(NamedTuple):
    title: str
    width: int
    cell: Callable[[ClientSnapshot], str]
    left: bool = False


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:.{digits}f}"


def _count(value: int) -> str:
    if value < 100_000:
        return str(value)
    return f"{value / 1e3:.0f}k" if value < 10_000_000 else f"{value / 1e6:.0f}M"


def _clock(client: ClientSnapshot) -> str:
    if client.clock_offset_ms is None or client.clock_bound_ms is None:
        return "-"
    return f"{round(client.clock_offset_ms / 1e3, 3) + 0.0:+.3f} \u00b1{_number(client.clock_bound_ms)}"


COLUMNS = (
    _Column("client", 14, lambda client: printable(client.name, 14), left=True),
    _Column("Hz", 5, lambda client: f"{client.rate_hz:.1f}"),
    _Column("frame", 6, lambda client: _number(client.frame_age_ms)),
    _Column("plan", 6, lambda client: _number(client.plan_age_ms)),
    _Column("pace", 4, lambda client: client.pace or "-", left=True),
    _Column("lost", 5, lambda client: _count(client.superseded)),
    _Column("seen s", 6, lambda client: f"{client.last_seen_s:.1f}"),
)
#: More of them, as far as there is room.
FURTHER_COLUMNS = (
    _Column("delay", 6, lambda client: _number(client.delay_ms)),
    _Column("chunk", 6, lambda client: "-" if client.chunk_id is None else _count(client.chunk_id)),
    _Column("clock s, \u00b1 ms", 19, _clock),
)
STYLES = {"ready": "good", "degraded": "bad", "starting": "warn", "stopping": "warn"}


def draw(snapshot: Snapshot, url: str, width: int) -> list[Line]:
    """Return the page for a terminal of `width` columns."""
    width = max(width, NARROWEST)
    lines = [Line(fit(_title(snapshot, url, width), width), STYLES.get(snapshot.health, "bad"))]
    for cause in snapshot.causes:
        told = textwrap.wrap(printable(cause.text, 600), width - 2, initial_indent="! ", subsequent_indent="  ")
        lines += [Line(line, "warn") for line in told]
    lines.append(Line(""))
    lines += _calls(snapshot)
    lines.append(Line(""))
    lines += [Line(line) for line in _drops(snapshot.drops, width)]
    lines.append(Line(""))
    lines += _clients(snapshot, width)
    # Whatever a server says of itself, nothing of it moves the cursor.
    return [Line(fit(clean(line.text), width), line.style) for line in lines]


def draw_absent(url: str, why: str, last: Snapshot | None, width: int) -> list[Line]:
    """Return the page for a server that does not answer, with what it was like when it last did."""
    width = max(width, NARROWEST)
    lines = [Line(fit(line, width), "bad") for line in textwrap.wrap(f"{printable(why, 600)}. Trying again.", width)]
    if last is None:
        return lines
    was = Line(fit("It last answered:", width), "dim")
    return [*lines, was, *(Line(line.text, "dim") for line in draw(last, url, width))]


def _title(snapshot: Snapshot, url: str, width: int) -> str:
    hours, seconds = divmod(int(snapshot.uptime_s), 3600)
    name = printable(snapshot.bundle_name, 24)
    left = f"{name} {snapshot.bundle_digest[:DIGEST_CHARACTERS]}  {snapshot.health.upper()}"
    left += f"  {hours}:{seconds // 60:02}:{seconds % 60:02}"
    return f"{left}{url:>{max(width - len(left), len(url) + 2)}}"


def _calls(snapshot: Snapshot) -> list[Line]:
    head = f"{'':<16}{'Hz':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'max ms':>9}{'count':>10}{'failed':>8}"
    one, two = snapshot.system1, snapshot.system2
    return [
        Line(head, "head"),
        Line(_figures("System 1, act", one.calls) + f"{_count(one.failures):>8}"),
        Line(_figures("System 2, plan", two.calls) + f"{_count(two.failures):>8}"),
        Line(_figures("age of frames", snapshot.frame_age)),
        Line(_figures("age of plans", snapshot.plan_age)),
    ]


def _figures(name: str, figures: Figures) -> str:
    times = (figures.p50_ms, figures.p95_ms, figures.p99_ms, figures.max_ms)
    cells = "".join(f"{_number(time_ms):>9}" for time_ms in times)
    return f"{name:<16}{figures.rate_hz:>8.1f}{cells}{_count(figures.count):>10}"


def _drops(drops: Drops, width: int) -> list[str]:
    lost = {
        "superseded": drops.superseded,
        "late": drops.late,
        "stale": drops.stale,
        "discarded": drops.discarded,
        "replies superseded": drops.replies_superseded,
        "replies dropped": drops.replies_dropped,
    }
    return _counts("dropped", lost, width) + _counts("refused", drops.refused or {"none": 0}, width)


def _counts(title: str, counts: Mapping[str, int], width: int) -> list[str]:
    # A count is not parted from its name.
    said = ", ".join(f"{printable(name, 40)} {count}".replace(" ", "\0") for name, count in counts.items())
    lines = textwrap.wrap(said, width, initial_indent=f"{title:<{INDENT}}", subsequent_indent=" " * INDENT)
    return [line.replace("\0", " ") for line in lines]


def _clients(snapshot: Snapshot, width: int) -> list[Line]:
    shown = list(COLUMNS)
    for column in FURTHER_COLUMNS:
        if _taken([*shown, column]) + INSTRUCTION_COLUMNS <= width:
            shown.append(column)
    room = width - _taken(shown)
    head = _row(shown, [column.title for column in shown]) + "instruction"
    title = f"{len(snapshot.clients)} of {snapshot.max_clients} clients; ages of frame and plan in ms at hand-out"
    lines = [Line(title), Line(head, "head")]
    for client in snapshot.clients:
        cells = [column.cell(client) for column in shown]
        style = "bad" if client.pace in {"HOLD", "STOP"} else ""
        lines.append(Line(_row(shown, cells) + fit(printable(client.instruction, 80), room), style))
    return lines


def _row(shown: Sequence[_Column], cells: Sequence[str]) -> str:
    # What does not fit is cut on its right, where it shows.
    flush = [cell if column.left else cell.rjust(column.width) for column, cell in zip(shown, cells, strict=True)]
    return "".join(f"{fit(cell, column.width)}  " for column, cell in zip(shown, flush, strict=True))


def _taken(shown: Sequence[_Column]) -> int:
    return sum(column.width + 2 for column in shown)
