"""The programs of the whole way, each started in a process of its own and ended with its context."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from st4vla.benchmarks.tabletop.controller import POSTURE_RAD
from st4vla.benchmarks.virtual_franka.process import VirtualFranka
from st4vla.benchmarks.whole_way.camera import memory_path
from st4vla.contracts.errors import TransportError
from st4vla.runtime import native_library

STOP_TIMEOUT_S = 10.0
_PROGRAM = "from st4vla.contracts.command_line import main; raise SystemExit(main())"


@dataclass(frozen=True)
class Setup:
    """What every run needs.

    Attributes:
        folder: For memories, logs and traces.
        bundle: What is served; its views are the tabletop's.
        engines: Compiled from it.
        seed: Where the objects lie, and the noise.
        address: Of the virtual Franka, on this machine.
        endpoint: Of the server.
        drive: Options of `st4vla drive` besides.
        cpu: The core that the control loop and the virtual Franka share; None: they run on any.
    """

    folder: Path
    bundle: Path
    engines: Path
    seed: int
    address: str
    endpoint: str
    drive: tuple[str, ...] = ()
    cpu: int | None = None


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

    def lines(self) -> Iterator[str]:
        """Yield what it prints until it ends."""
        assert self.process.stdout is not None  # noqa: S101 - it was asked for
        for line in self.process.stdout:
            yield line.rstrip("\n")

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
def cameras(setup: Setup) -> Iterator[str]:
    """Draw the tabletop into the folder's memories; yields the address that wants the arm's poses."""
    module = "st4vla.benchmarks.whole_way.camera"
    command = [sys.executable, "-m", module, str(setup.folder), "--seed", str(setup.seed)]
    program = Program(command, setup.folder / "camera.log")
    try:
        yield program.line()
    finally:
        program.end()


def virtual_franka(setup: Setup, poses: str) -> VirtualFranka:
    """Return a virtual Franka, to be started, that will stand as the tabletop's arm does at first.

    Args:
        setup: Where.
        poses: Where to send the joints' positions.
    """
    posture = ",".join(f"{angle:.6f}" for angle in POSTURE_RAD)
    return VirtualFranka(["--publish", poses, "--q", posture, *_core(setup)], address=setup.address)


@contextmanager
def serving(setup: Setup) -> Iterator[Program]:
    """Serve the bundle, and end the server with the context.

    Raises:
        TransportError: It did not start.
    """
    program = serve(setup)
    try:
        yield program
    finally:
        program.end()


def serve(setup: Setup) -> Program:
    """Start a server of the bundle and wait until it serves.

    Raises:
        TransportError: It did not start.
    """
    command = st4vla("serve", str(setup.bundle), "--engines", str(setup.engines), "--bind", setup.endpoint)
    program = Program(command, setup.folder / "server.log")
    while not program.line().startswith("serving "):
        pass
    return program


def drive(setup: Setup, views: Sequence[str], *arguments: str) -> Program:
    """Start `st4vla drive` with the cameras' memories; it prints lines for people, and a JSON line at its end."""
    pictures = [word for view in views for word in ("--camera", f"{view}=memory:{memory_path(setup.folder, view)}")]
    command = st4vla(
        "drive", "--franka", setup.address, "--server", setup.endpoint, "--no-real-time", *pictures, *setup.drive
    )
    return Program([*command, *_core(setup), *arguments], setup.folder / "drive.log")


def _core(setup: Setup) -> list[str]:
    return [] if setup.cpu is None else ["--cpu", str(setup.cpu)]


@contextmanager
def bare_timers(setup: Setup, seconds: float) -> Iterator[list[Program]]:
    """Let a 1 kHz timer run on each core, at the control loop's priority and with nothing to do.

    Milliseconds that one of them misses are the machine's own, and no program's fault.
    """
    program = native_library.BUILT / "st4vla-bridge"
    timers = [
        Program(
            ["taskset", "-c", str(cpu), str(program), "check", "--unloaded", "--seconds", f"{seconds:g}"],
            setup.folder / f"timer_{cpu}.log",
        )
        for cpu in sorted(os.sched_getaffinity(0))
    ]
    try:
        yield timers
    finally:
        for timer in timers:
            timer.end()


def free_endpoint() -> str:
    """Return an address of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "tcp://{}:{}".format(*probe.getsockname())
