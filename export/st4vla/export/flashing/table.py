"""What runs where, as a table."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from st4vla.contracts.command_line import table
from st4vla.contracts.device_status import DeviceStatus, Outcome, SlotStatus
from st4vla.export.flashing.asking import Answered
from st4vla.runtime.printable import printable

HEADER = (
    "device",
    "policy",
    "digest",
    "slot",
    "for",
    "trial",
    "health",
    "chunks/s",
    "frame age, ms",
    "deg C",
    "keys",
    "last flash",
)
ABSENT = "-"
DIGEST_CHARACTERS = 8
NAME_CHARACTERS = 24


def devices_table(answers: Sequence[Answered], now: datetime.datetime) -> str:
    """Return a row for each device that answered, and under them why others did not, and what is wrong with some."""
    rows = [_row(one.device.title, one.status, now) for one in answers if one.status is not None]
    parts = [table(rows, HEADER)] if rows else []
    notes = [note for one in answers for note in _notes(one)]
    return "\n\n".join([*parts, "\n".join(notes)] if notes else parts)


def _row(title: str, status: DeviceStatus, now: datetime.datetime) -> tuple[str, ...]:
    slot = _active(status)
    server = status.server
    return (
        printable(title, NAME_CHARACTERS),
        ABSENT if slot is None else printable(f"{slot.bundle_name} ({slot.counter})", NAME_CHARACTERS),
        ABSENT if slot is None else slot.bundle_digest[:DIGEST_CHARACTERS],
        status.active or ABSENT,
        _since(status.active_since, now),
        _trial(status),
        "no supervisor" if server is None else printable(server.health, NAME_CHARACTERS),
        ABSENT if server is None else f"{server.system1_hz:.1f}",
        ABSENT if server is None or server.frame_age_ms is None else f"{server.frame_age_ms:.0f}",
        ABSENT if status.machine.temperature_c is None else f"{status.machine.temperature_c:.0f}",
        f"v{status.trust_version}" if status.trust_version else ABSENT,
        _last(status, now),
    )


def _active(status: DeviceStatus) -> SlotStatus | None:
    return None if status.active is None else status.slots.get(status.active)


def _trial(status: DeviceStatus) -> str:
    if status.flashing is not None:
        return status.flashing
    if status.trial is None:
        return ABSENT
    return f"{status.trial.elapsed_s:.0f} of {status.trial.needed_s:.0f} s"


def _last(status: DeviceStatus, now: datetime.datetime) -> str:
    last = status.last
    if last is None:
        return ABSENT
    return f"{_word(last)} {_since(last.ended_at, now)} ago".replace(f" {ABSENT} ago", "")


def _word(outcome: Outcome) -> str:
    if outcome.ok:
        return "ok"
    return "rolled back" if outcome.rolled_back else f"{outcome.step} failed"


def _since(text: str, now: datetime.datetime) -> str:
    """Return how long ago a device's clock showed a time, in its largest unit; clocks may differ."""
    try:
        then = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return ABSENT
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.timezone.utc)
    seconds = max(0, int((now - then).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _notes(answer: Answered) -> list[str]:
    notes = [answer.why] if answer.why else []
    status = answer.status
    if status is not None:
        notes += status.server.causes if status.server is not None else ()
        notes += [status.last.message] if status.last is not None and not status.last.ok else []
        slot = _active(status)
        if slot is not None and slot.revoked is not None:
            notes.append(f"its policy's key is trusted no more: {slot.revoked}")
    return [f"{printable(answer.device.title, NAME_CHARACTERS)}: {printable(note, 1000)}" for note in notes]
