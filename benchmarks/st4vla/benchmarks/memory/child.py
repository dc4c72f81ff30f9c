"""Run a program of its own and watch its memory from outside, as the kernel counts it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from st4vla.contracts.errors import St4vlaError

PERIOD_S = 0.01
_COMMAND_LINE = "from st4vla.contracts.command_line import main; raise SystemExit(main())"


@dataclass(frozen=True)
class Peak:
    """The most that a program held, in bytes.

    Attributes:
        resident: All of it, mapped files included: the kernel's own high-water mark.
        anonymous: What no file stands behind, so that only swapping could give it back; seen every `PERIOD_S`.
        seconds: How long it ran.
    """

    resident: int
    anonymous: int
    seconds: float


def watch_command(arguments: Sequence[str]) -> Peak:
    """Run `st4vla ARGUMENTS`; see `watch`."""
    return watch(["-c", _COMMAND_LINE, *arguments])


def watch(arguments: Sequence[str]) -> Peak:
    """Run Python with arguments and return the most that it held.

    Raises:
        St4vlaError: It failed; the message holds the end of what it said.
    """
    began = time.monotonic()
    resident = anonymous = 0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            while process.poll() is None:
                held = _read(process.pid)
                resident, anonymous = max(resident, held.get("VmHWM", 0)), max(anonymous, held.get("RssAnon", 0))
                time.sleep(PERIOD_S)
        finally:
            process.kill()
            process.wait()
        seconds = time.monotonic() - began
        output.seek(0)
        said = output.read()
    if process.returncode != 0:
        ending = " ".join(said.split())[-500:]
        msg = f"python {' '.join(arguments)} ended with status {process.returncode}: {ending}"
        raise St4vlaError(msg)
    return Peak(resident, anonymous, seconds)


def _read(pid: int) -> dict[str, int]:
    """Return the sizes in a process's status, in bytes; none when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) * 1024 for name, size, _ in pairs}
