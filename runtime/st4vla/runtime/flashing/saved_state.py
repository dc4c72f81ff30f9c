"""The state as the supervisor knows it, and as the disk does."""

from __future__ import annotations

import logging
from pathlib import Path

from st4vla.contracts.clock import NS_PER_S, monotonic_ns
from st4vla.contracts.errors import StorageError
from st4vla.runtime.flashing.state import DeviceState, read_state, write_state

LOG = logging.getLogger(__name__)
#: How soon a state that the disk did not take is tried again.
AGAIN_S = 1.0


class SavedState:
    """A device's state, written before it holds.

    Args:
        path: Its file.

    Attributes:
        now: What holds.

    Raises:
        ManifestError: The file is damaged, which no power cut does.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.now: DeviceState = read_state(path)
        self._again_ns: int | None = None

    def save(self, state: DeviceState) -> None:
        """Let a state hold that is on disk.

        Raises:
            StorageError: The disk does not take it; the old one holds.
        """
        write_state(self._path, state)
        self.now, self._again_ns = state, None

    def insist(self, state: DeviceState) -> None:
        """Let a state hold whatever the disk says, which is asked again and again; for what cannot wait."""
        try:
            self.save(state)
        except StorageError as error:
            LOG.warning("%s; it is tried again", error)
            self.now = state
            self._again_ns = monotonic_ns() + round(AGAIN_S * NS_PER_S)

    def step(self) -> None:
        """Write what the disk did not take, when it is time to."""
        if self._again_ns is not None and monotonic_ns() >= self._again_ns:
            self.insist(self.now)
