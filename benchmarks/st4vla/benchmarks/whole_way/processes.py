"""The programs of the whole way, each started in a process of its own and ended with its context."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from st4vla.benchmarks.tabletop.controller import POSTURE_RAD
from st4vla.benchmarks.whole_way.camera import memory_path
from st4vla.contracts.errors import MissingExtraError, TransportError
from st4vla.runtime.native_library import BUILT

VIRTUAL_FRANKA = BUILT / "virtual_franka" / "st4vla-virtual-franka"
STOP_TIMEOUT_S = 10.0
_PROGRAM = "from st4vla.contracts.command_line import main; raise SystemExit(main())"


class Program:
    """A process and the lines that it prints.

    Args:
        command: With its arguments.
        log: File for what it says on standard error.

    Attributes:
        process: The process.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        with log.open("wb") as stream:
            # A session of its own: an interrupt at the keyboard ends the arm first, then what it looks at.
            self.process = subprocess.Popen(  # noqa: S603
                command, stdout=subprocess.PIPE, stderr=stream, text=True, start_new_session=True
            )
        self._name, self._log = Path(command[0]).name, log

    def line(self) -> str:
        """Return the next line that it prints.

        Raises:
            TransportError: It ended instead.
        """
        assert self.process.stdout is not None  # noqa: S101 - it was asked for
        line = self.process.stdout.readline()
        if not line:
            msg = f"{self._name} ended with status {self.process.wait()}; see {self._log}"
            raise TransportError(msg)
        return line.rstrip("\n")

    def end(self) -> list[str]:
        """Interrupt it and return what it still printed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            rest, _ = self.process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            rest, _ = self.process.communicate()
        return rest.splitlines()


def st4vla(*arguments: str) -> list[str]:
    """Return the command line of one of this project's commands."""
    return [sys.executable, "-c", _PROGRAM, *arguments]


@contextmanager
def cameras(folder: Path, seed: int) -> Iterator[str]:
    """Draw the tabletop into a folder's memories; yields the address that wants the arm's poses."""
    command = [sys.executable, "-m", "st4vla.benchmarks.whole_way.camera", str(folder), "--seed", str(seed)]
    program = Program(command, folder / "camera.log")
    try:
        yield program.line()
    finally:
        program.end()


class VirtualFranka:
    """A virtual Franka that is running.

    Attributes:
        address: Where libfranka reaches it.
        figures: What it said of itself when it ended.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.figures: dict[str, object] = {}


@contextmanager
def virtual_franka(folder: Path, address: str, poses: str) -> Iterator[VirtualFranka]:
    """Run a virtual Franka that stands as the tabletop's arm does at first.

    Args:
        folder: For its log.
        address: To be reached at.
        poses: Where to send the joints' positions.

    Raises:
        MissingExtraError: It is not built.
        TransportError: It did not start.
    """
    if not VIRTUAL_FRANKA.exists():
        msg = f"{VIRTUAL_FRANKA} is not built; build it with: make ctest"
        raise MissingExtraError(msg)
    q = ",".join(f"{angle:.6f}" for angle in POSTURE_RAD)
    command = [str(VIRTUAL_FRANKA), "--bind", address, "--publish", poses, "--q", q]
    program = Program(command, folder / "virtual_franka.log")
    arm = VirtualFranka(address)
    try:
        program.line()
        yield arm
    finally:
        rest = program.end()
        arm.figures = msgspec.json.decode(rest[-1]) if rest else {}


def serve(folder: Path, bundle: Path, engines: Path, endpoint: str) -> Program:
    """Start a server of a bundle and wait until it serves.

    Raises:
        TransportError: It did not start.
    """
    command = st4vla("serve", str(bundle), "--engines", str(engines), "--bind", endpoint)
    program = Program(command, folder / "server.log")
    while not program.line().startswith("serving "):
        pass
    return program


def free_endpoint() -> str:
    """Return an address of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "tcp://{}:{}".format(*probe.getsockname())


def drive(folder: Path, endpoint: str, franka: str, views: Sequence[str], *arguments: str) -> Program:
    """Start `st4vla drive` with the cameras' memories; it prints one line when it moves and a JSON line at its end."""
    pictures = [word for view in views for word in ("--camera", f"{view}=memory:{memory_path(folder, view)}")]
    command = st4vla("drive", "--franka", franka, "--server", endpoint, "--no-real-time", *pictures, *arguments)
    return Program(command, folder / "drive.log")
