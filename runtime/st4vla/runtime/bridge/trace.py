"""What a control loop commanded and measured, millisecond by millisecond."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: Columns of a trace, as `st4vla_control_row` has them: clock, milliseconds since the row before, the setpoint's place,
#: the pose that the robot says it was last sent (row-major 3 x 4), the measured place, the pace, and what was executed.
COLUMNS = (
    *("time_ns", "ticks", "x_m", "y_m", "z_m"),
    *(f"sent_{row}{column}" for row in range(3) for column in range(4)),
    *("measured_x_m", "measured_y_m", "measured_z_m", "pace", "chunk_id", "frame_age_ns"),
)
CHUNK_ID, FRAME_AGE_NS = COLUMNS.index("chunk_id"), COLUMNS.index("frame_age_ns")


def empty_trace(milliseconds: int) -> npt.NDArray[np.float64]:
    """Return room for the rows of so many cycles, float64 [milliseconds, 23]; later ones are not written down."""
    return np.zeros((milliseconds, len(COLUMNS)))


def latencies_ns(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return, of each chunk that moved the arm, the age of its frame when its first setpoint was commanded."""
    first = np.diff(rows[:, CHUNK_ID], prepend=0.0) != 0.0
    ages: npt.NDArray[np.int64] = rows[first & (rows[:, FRAME_AGE_NS] >= 0), FRAME_AGE_NS].astype(np.int64)
    return ages


def figures(rows: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return how far measured and sent hand were apart, millimetres, and how old frames were when they moved it."""
    if not len(rows):
        return {}
    apart = np.linalg.norm(rows[:, 17:20] - sent_poses(rows)[:, :3, 3], axis=1)
    latencies = latencies_ns(rows)
    latencies_ms = (latencies if len(latencies) else np.zeros(1)) / 1e6
    return {
        "tracking_error_mm": {"p50": _rounded(np.median(apart) * 1e3), "max": _rounded(apart.max() * 1e3)},
        "frame_to_motion_ms": {
            name: _rounded(np.percentile(latencies_ms, percent))
            for name, percent in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100))
        },
        "chunks_executed": len(latencies),
    }


def sent_poses(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the poses [N, 3, 4] that the robot says it was sent, from a trace's rows."""
    return rows[:, 5:17].reshape(-1, 3, 4)


def _rounded(value: float) -> float:
    return round(float(value), 3)
