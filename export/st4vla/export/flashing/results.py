"""How a flash ended, device by device."""

from __future__ import annotations

from typing import Literal

import msgspec

from st4vla.contracts.device_status import Step

#: ``flashed``: the new policy is committed. ``unchanged``: it was before. ``would flash``: so says a dry run.
#: ``failed``: it is as before, and why. ``unreachable``: it could not be asked. ``not started``: its turn never came.
#: ``left``: it goes on by itself, and nobody waits for it.
State = Literal["flashed", "unchanged", "would flash", "failed", "unreachable", "not started", "left"]
GOOD: tuple[State, ...] = ("flashed", "unchanged", "would flash")


class Result(msgspec.Struct, frozen=True):
    """How one device ended.

    Attributes:
        device: What people call it.
        host: What `ssh` was told.
        state: How it ended.
        message: In words.
        step: The last one that was begun, or None.
        error: Name of an error's class, or empty.
        rolled_back: The new policy served and was taken back.
        wanted_bytes: What of the bundle the device had not.
        sent_bytes: What was handed to `ssh`, over all connections.
        seconds: From its turn to its end.
        connections: How often it was connected to.
    """

    device: str
    host: str
    state: State
    message: str
    step: Step | None = None
    error: str = ""
    rolled_back: bool = False
    wanted_bytes: int = 0
    sent_bytes: int = 0
    seconds: float = 0.0
    connections: int = 0

    @property
    def ok(self) -> bool:
        """Whether the device runs the bundle, or would."""
        return self.state in GOOD
