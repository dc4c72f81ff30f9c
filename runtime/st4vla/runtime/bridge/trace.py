"""What a control loop commanded and measured, millisecond by millisecond."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from st4vla.contracts.clock import monotonic_ns
from st4vla.runtime.bridge.control import GripperEvent, RobotArm, RobotState
from st4vla.runtime.bridge.player import Setpoint

#: Columns of a trace: clock, milliseconds since the row before, the setpoint's place, the pose that the robot says it
#: was last sent (row-major 3 x 4), the measured place, and the pace.
COLUMNS = (
    *("time_ns", "ticks", "x_m", "y_m", "z_m"),
    *(f"sent_{row}{column}" for row in range(3) for column in range(4)),
    *("measured_x_m", "measured_y_m", "measured_z_m", "pace"),
)


class TracedArm:
    """An arm that writes down what passes; memory is taken beforehand.

    Args:
        arm: Who does the work.
        milliseconds: Cycles that there is room for; later ones are not written down.

    Attributes:
        latencies_ns: Of each chunk, the age of its frame when its first setpoint was commanded.
    """

    def __init__(self, arm: RobotArm, milliseconds: int) -> None:
        self._arm = arm
        self.joints = arm.joints
        self._rows: npt.NDArray[np.float64] = np.zeros((milliseconds, len(COLUMNS)))
        self._count = 0
        self._chunk_id = 0
        self._ticks = 0
        self._sent: tuple[float, ...] = (0.0,) * 12
        self._measured: tuple[float, ...] = (0.0,) * 3
        self.latencies_ns: list[int] = []

    def read(self, state: RobotState) -> None:
        """Read, and keep where the hand is, and where it was sent."""
        self._arm.read(state)
        pose = state.base_T_ee
        self._measured = (pose[3], pose[7], pose[11])
        self._sent = tuple(state.commanded_base_T_ee[:12])
        self._ticks = state.ticks

    def write(self, setpoint: Setpoint, *, last: bool) -> None:
        """Write, and keep what was commanded."""
        self._arm.write(setpoint, last=last)
        if setpoint.chunk_id != self._chunk_id and setpoint.frame_age_ns >= 0:
            self._chunk_id = setpoint.chunk_id
            self.latencies_ns.append(setpoint.frame_age_ns)
        if self._count < len(self._rows):
            pose = setpoint.base_T_ee
            place = (pose[3], pose[7], pose[11])
            head = (monotonic_ns(), self._ticks, *place)
            self._rows[self._count] = (*head, *self._sent, *self._measured, setpoint.pace)
            self._count += 1

    def grip(self, event: GripperEvent) -> None:
        """Pass on."""
        self._arm.grip(event)

    @property
    def rows(self) -> npt.NDArray[np.float64]:
        """What was written down, float64 [N, 21], by `COLUMNS`."""
        return self._rows[: self._count]

    def figures(self) -> dict[str, Any]:
        """Return how far measured and sent hand were apart, millimetres, and how old frames were when they moved it."""
        rows = self.rows
        if not len(rows):
            return {}
        apart = np.linalg.norm(rows[:, 17:20] - sent_poses(rows)[:, :3, 3], axis=1)
        latencies_ms = np.array(self.latencies_ns or [0]) / 1e6
        return {
            "tracking_error_mm": {"p50": _rounded(np.median(apart) * 1e3), "max": _rounded(apart.max() * 1e3)},
            "frame_to_motion_ms": {
                name: _rounded(np.percentile(latencies_ms, percent))
                for name, percent in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100))
            },
            "chunks_executed": len(self.latencies_ns),
        }


def sent_poses(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the poses [N, 3, 4] that the robot says it was sent, from a trace's rows."""
    return rows[:, 5:17].reshape(-1, 3, 4)


def _rounded(value: float) -> float:
    return round(float(value), 3)
