"""A server from outside, from before it serves until it has stopped: what its probes, metrics and watchdog ask."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from st4vla.contracts.clock import monotonic_ns
from st4vla.runtime.core import Core
from st4vla.runtime.diagnosis import CAUSES, Cause, Check
from st4vla.runtime.doors.door import Door
from st4vla.runtime.snapshot import Snapshot, take_snapshot

WARMING_UP = Cause("warming_up", "warming up: the engines are being loaded and run for the first time")
STOPPING = Cause("stopping", "stopping: a running call is waited for")


class Observer:
    """Know in which phase a server is. Any thread may ask.

    Args:
        bundle_name: What it serves, or will serve.
        bundle_digest: SHA-256 of that bundle's manifest, hexadecimal.
    """

    def __init__(self, bundle_name: str, bundle_digest: str) -> None:
        self._bundle = bundle_name, bundle_digest
        self._core: Core | None = None
        self._doors: tuple[Door, ...] = ()
        self._stopping = False

    def serving(self, core: Core, doors: Sequence[Door] = ()) -> None:
        """Note that a core serves, through doors for other projects' clients as well."""
        for door in doors:
            core.diagnosis.watch(f"{door.name}_door_ended", _door_check(door))
        self._doors = tuple(doors)
        self._core = core

    def stopping(self) -> None:
        """Note that it is about to stop."""
        self._stopping = True

    def why_dead(self) -> str | None:
        """Return why only a restart helps, or None. A server that warms up or stops is alive."""
        if self._core is None or self._stopping:
            return None
        return self._core.diagnosis.why_dead(monotonic_ns())

    def why_not_ready(self) -> str | None:
        """Return why observations are not answered, or None."""
        if self._stopping:
            return STOPPING.text
        return WARMING_UP.text if self._core is None else self.why_dead()

    def snapshot(self) -> Snapshot:
        """Return what it is like now."""
        if self._core is None:
            return Snapshot(*self._bundle, "starting", ready=False, causes=(WARMING_UP,), cause_names=CAUSES)
        found = take_snapshot(self._core, monotonic_ns(), self._doors)
        if not self._stopping:
            return found
        return msgspec.structs.replace(found, health="stopping", ready=False, causes=(STOPPING, *found.causes))


def _door_check(door: Door) -> Check:
    said = f"the door at {door.address} has ended, and its clients get nothing: restart the server"
    return lambda: None if door.is_open else said
