"""Which action is due now, and whether it may still be executed: for control loops in Python.

The firmware bridge's player does the same at 1 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from st4vla.contracts.messages import ActionChunk
from st4vla.contracts.staleness import Pace, Staleness
from st4vla.runtime.safety import slow_down


@dataclass(frozen=True)
class Due:
    """What is due at one instant.

    Attributes:
        pace: What may be done. HOLD when there is no action, because none came or all are used up.
        action: Float32 [A], slowed down already if it must be; None at HOLD and STOP.
        chunk_id: Of its chunk; None where there is no action.
        index: Which of the chunk's actions it is; None where there is none.
    """

    pace: Pace
    action: npt.NDArray[np.float32] | None = None
    chunk_id: int | None = None
    index: int | None = None


class Player:
    """Play the newest chunk.

    Args:
        staleness: Ages at which to slow down, hold and stop; a server's `Welcome` has them.
    """

    def __init__(self, staleness: Staleness) -> None:
        self._staleness = staleness
        self._chunk: ActionChunk | None = None
        self._stopped = False

    def take(self, chunk: ActionChunk) -> None:
        """Put a chunk in the place of an older one; one that comes after a newer one is let go."""
        if self._chunk is None or chunk.observation_sequence > self._chunk.observation_sequence:
            self._chunk = chunk

    def due(self, now_ns: int) -> Due:
        """Return what is due, on this machine's clock.

        An age at which to stop stops for good, until `resume`.
        """
        chunk = self._chunk
        if chunk is None:
            return Due(Pace.STOP if self._stopped else Pace.HOLD)
        pace = self._staleness.pace(now_ns - chunk.frame_capture_ns, now_ns - chunk.plan_capture_ns)
        self._stopped |= pace is Pace.STOP
        if self._stopped:
            return Due(Pace.STOP)
        index = round((now_ns - chunk.start_ns) / chunk.period_ns)
        if pace is Pace.HOLD or not 0 <= index < len(chunk.actions):
            return Due(Pace.HOLD)
        action = chunk.actions[index]
        if pace is Pace.SLOW and chunk.pace is not Pace.SLOW:
            action = slow_down(action, chunk.representation, chunk.gripper_index)
        return Due(max(pace, chunk.pace), action, chunk.chunk_id, index)

    def resume(self) -> None:
        """Move again after a stop, from the next chunk on: the operator's decision, never this program's."""
        self._stopped = False
        self._chunk = None
