"""What people see of a flash: events, and how they become lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from st4vla.contracts.flash_messages import Progress
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.results import Result
from st4vla.runtime.printable import printable

TEXT_CHARACTERS = 160
MESSAGE_CHARACTERS = 1000


class Reporter(Protocol):
    """Whoever shows how a flash goes."""

    def say(self, text: str) -> None:
        """Show a sentence about the whole."""

    def wave(self, name: str, devices: Collection[Device]) -> None:
        """Show that a wave begins."""

    def begin(self, device: Device) -> None:
        """Show that a device's turn has come."""

    def note(self, device: Device, text: str) -> None:
        """Show what happened to a device."""

    def sent(self, device: Device, done: int, total: int) -> None:
        """Show how many bytes have gone to a device."""

    def progress(self, device: Device, progress: Progress) -> None:
        """Show what a device says of its flash."""

    def end(self, result: Result) -> None:
        """Show how a device ended."""


class Lines:
    """One line for each thing that happens."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._steps: dict[str, tuple[str, str]] = {}

    def say(self, text: str) -> None:
        """Write a sentence."""
        self._write(text)

    def wave(self, name: str, devices: Collection[Device]) -> None:
        """Write who is in a wave."""
        self._write(f"{name}: {', '.join(device.title for device in devices)}")

    def begin(self, device: Device) -> None:
        """Write nothing: the first thing that happens says it."""

    def note(self, device: Device, text: str) -> None:
        """Write what happened."""
        self._write(f"{device.title}: {printable(text, MESSAGE_CHARACTERS)}")

    def sent(self, device: Device, done: int, total: int) -> None:
        """Write nothing: what is to travel, and that it has, are notes."""

    def progress(self, device: Device, progress: Progress) -> None:
        """Write a step, and what is said of it, unless that was written last."""
        step, text = progress.step, printable(progress.text, TEXT_CHARACTERS)
        last = self._steps.get(device.title)
        if last != (step, text) and (text or last is None or last[0] != step):
            self._steps[device.title] = step, text
            self._write(f"{device.title}: {step}{': ' if text else ''}{text}")

    def end(self, result: Result) -> None:
        """Write how it ended."""
        self._write(end_line(result))


def end_line(result: Result) -> str:
    """Return in one line how a device ended."""
    text = printable(result.message, MESSAGE_CHARACTERS)
    return f"{result.device}: {result.state} after {result.seconds:.1f} s{': ' if text else ''}{text}"


def megabytes(size: int) -> str:
    """Return a number of bytes in a unit that people read."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}" if size < 100 * scale else f"{size / scale:.0f} {unit}"
    return f"{size} bytes"
