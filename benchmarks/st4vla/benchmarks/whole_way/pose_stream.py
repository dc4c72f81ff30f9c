"""Where the virtual Franka's arm is: the datagrams that it sends to whoever renders its world."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

JOINTS = 7
MAGIC, VERSION = b"VFRP", 1
#: Magic, version, the robot's milliseconds, its host's monotonic clock, positions, velocities, width.
POSE = struct.Struct(f"<4sIQq{JOINTS}d{JOINTS}dd")


@dataclass(frozen=True)
class ArmPose:
    """One datagram.

    Attributes:
        monotonic_ns: When it was sent, on this machine's clock.
        joint_positions_rad: Float64 [7].
        gripper_width_m: Between the fingers.
    """

    monotonic_ns: int
    joint_positions_rad: npt.NDArray[np.float64]
    gripper_width_m: float


class PoseStream:
    """Receive poses on a free port of this machine."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._socket.getsockname())

    def newest(self, timeout_s: float) -> ArmPose | None:
        """Return the newest pose, waiting for one that was not given yet; None when none came in time."""
        self._socket.settimeout(timeout_s)
        try:
            newest = self._socket.recv(1024)
            self._socket.setblocking(False)
            while True:
                newest = self._socket.recv(1024)
        except TimeoutError:
            return None
        except BlockingIOError:
            return _decoded(newest)

    def close(self) -> None:
        """Free the port."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _decoded(datagram: bytes) -> ArmPose:
    """Return what a datagram says.

    Raises:
        ValueError: It is none of a virtual Franka's.
    """
    if len(datagram) != POSE.size or datagram[:4] != MAGIC:
        msg = (
            f"a datagram of {len(datagram)} bytes that begins with {datagram[:4]!r}; a pose has {POSE.size}, {MAGIC!r}"
        )
        raise ValueError(msg)
    _, version, _, monotonic_ns, *numbers = POSE.unpack(datagram)
    if version != VERSION:
        msg = f"a pose of version {version}; this side reads {VERSION}: build both from one checkout"
        raise ValueError(msg)
    return ArmPose(monotonic_ns, np.array(numbers[:JOINTS]), numbers[-1])
