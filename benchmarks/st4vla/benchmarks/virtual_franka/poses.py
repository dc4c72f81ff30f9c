"""What a virtual Franka publishes of its joints, and the arm as another process sees it.

Start the robot with ``--publish HOST:PORT``. `PoseReceiver` takes what comes there; `ArmWorld` is the same arm in
MuJoCo's Python, put into those poses, for whatever renders or measures there.
"""

from __future__ import annotations

import socket
import struct
import subprocess
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from st4vla.benchmarks.virtual_franka.process import find_program
from st4vla.contracts.errors import TransportError, WireError

#: `PoseMessage` of firmware_bridge/virtual_franka/src/pose_stream.h.
LAYOUT = struct.Struct("<4sIQq7d7dd")
MAGIC, VERSION = b"VFRP", 1
JOINTS = 7


@dataclass(frozen=True)
class ArmPose:
    """Where the arm was.

    Attributes:
        robot_ms: Milliseconds that the robot has run.
        monotonic_ns: When it was so, by the clock of the robot's machine.
        q: Joint positions [7], rad.
        dq: Joint velocities [7], rad/s.
        width: Between the fingers, m.
    """

    robot_ms: int
    monotonic_ns: int
    q: NDArray[np.float64]
    dq: NDArray[np.float64]
    width: float


def decode_pose(message: bytes) -> ArmPose:
    """Read one datagram.

    Raises:
        WireError: It is not one of them.
    """
    if len(message) != LAYOUT.size:
        msg = f"a pose has {LAYOUT.size} bytes, not {len(message)}"
        raise WireError(msg)
    magic, version, robot_ms, monotonic_ns, *numbers = LAYOUT.unpack(message)
    if (magic, version) != (MAGIC, VERSION):
        msg = f"a pose begins with {MAGIC!r} and version {VERSION}, not with {magic!r} and {version}"
        raise WireError(msg)
    q, dq = np.array(numbers[:JOINTS]), np.array(numbers[JOINTS : 2 * JOINTS])
    return ArmPose(robot_ms, monotonic_ns, q, dq, numbers[-1])


class PoseReceiver:
    """Takes poses at an address of this machine; the newest wins.

    Attributes:
        address: What the robot is given as ``--publish``.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen there; port 0 takes a free one."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self.address = "{}:{}".format(*self._socket.getsockname())

    def newest(self, timeout_s: float = 1.0) -> ArmPose:
        """Wait for a pose, and return the newest that has come.

        Raises:
            TransportError: None came in time.
            WireError: Something else came.
        """
        self._socket.settimeout(timeout_s)
        try:
            message = self._socket.recv(LAYOUT.size + 1)
        except TimeoutError:
            msg = f"no pose came to {self.address} within {timeout_s:g} s; is the robot given --publish {self.address}?"
            raise TransportError(msg) from None
        self._socket.settimeout(0.0)
        while True:
            try:
                message = self._socket.recv(LAYOUT.size + 1)
            except BlockingIOError:
                return decode_pose(message)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def __enter__(self) -> PoseReceiver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ArmWorld:
    """The robot's own model of the arm, for another process.

    Attributes:
        model: MuJoCo's `MjModel`: joints ``joint1`` to ``joint7``, two fingers, a floor, and a camera ``front``.
        data: Its `MjData`, in the last pose that it was put into.
    """

    def __init__(self, robot: str = "fr3") -> None:
        """Ask the program for its model.

        Args:
            robot: As the program's ``--robot``.

        Raises:
            FileMissingError: The program is not built.
        """
        command = [find_program(), "--robot", robot, "--print-mjcf"]
        xml = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
        self.model: Any = mujoco.MjModel.from_xml_string(xml)
        self.data: Any = mujoco.MjData(self.model)

    def show(self, pose: ArmPose) -> None:
        """Put the arm and its fingers into a pose."""
        self.data.qpos[:JOINTS] = pose.q
        self.data.qpos[JOINTS:] = pose.width / 2
        self.data.qvel[:JOINTS] = pose.dq
        mujoco.mj_forward(self.model, self.data)
