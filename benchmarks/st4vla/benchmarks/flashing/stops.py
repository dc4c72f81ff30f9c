"""Where to stop a stand-in: before the N-th change to its files; see `stopping/sitecustomize.py`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

_HOOK = Path(__file__).parent / "stopping"


class Stops:
    """Counts the changes to a stand-in's files, and stops whichever process would make a certain one.

    Args:
        folder: For the count; one a stand-in.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.begin()

    def environment(self, others: Mapping[str, str]) -> dict[str, str]:
        """Return an environment, with what its processes need to be stopped."""
        path = os.pathsep.join([str(_HOOK), others["PYTHONPATH"]])
        return {**others, "PYTHONPATH": path, "ST4VLA_STOP_FOLDER": str(self._folder)}

    def begin(self, stop_at: int = 0) -> None:
        """Count from 1 again, and stop before the change of a certain number; 0 stops nobody."""
        (self._folder / "stopped").unlink(missing_ok=True)
        at = self._folder / "at.new"
        at.write_text(str(stop_at))
        at.replace(self._folder / "at")
        (self._folder / "count").write_bytes(b"")

    @property
    def count(self) -> int:
        """How many changes there were since `begin`."""
        return (self._folder / "count").stat().st_size

    def stopped(self) -> str | None:
        """Return which change somebody has stopped before; None when nobody has."""
        path = self._folder / "stopped"
        return path.read_text() if path.exists() else None

    def wait(self, ended: Callable[[], bool]) -> str | None:
        """Wait until somebody has stopped, and return before which change; None when all has ended without that."""
        while (found := self.stopped()) is None and not ended():
            time.sleep(0.002)
        return found
