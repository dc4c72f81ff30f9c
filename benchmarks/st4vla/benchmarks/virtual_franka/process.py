"""A virtual Franka in a process of its own, and the socket by which things happen to it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from st4vla.contracts.errors import FileMissingError, PortInUseError, ServerUnreachableError, TransportError, UsageError
from st4vla.runtime import native_library

PROGRAM = "st4vla-virtual-franka"
BUILT = native_library.BUILT / "virtual_franka" / PROGRAM
FCI_PORT = 1337
STOP_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 5.0
#: The exit status for a wrong command line.
WRONG_USAGE = 2


def find_program() -> str:
    """Return the path of the program: as the checkout builds it (`make ctest`), or as it is installed.

    Raises:
        FileMissingError: It is neither built nor installed.
    """
    if BUILT.is_file():
        return str(BUILT)
    installed = shutil.which(PROGRAM)
    if installed is None:
        msg = (
            f"{PROGRAM} is neither at {BUILT} nor on the PATH; build it with `make ctest`, which needs the extra [sim]"
        )
        raise FileMissingError(msg)
    return installed


def free_address() -> str:
    """Return an address of this machine's loopback network that no robot listens at.

    libfranka's ports are fixed, so each robot needs an address of its own; Linux answers at all of 127.0.0.0/8.

    Raises:
        PortInUseError: None was found.
    """
    for _ in range(100):
        address = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"  # noqa: S311
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind((address, FCI_PORT))
            return address
    msg = f"port {FCI_PORT} is taken at a hundred addresses of 127.0.0.0/8"
    raise PortInUseError(msg)


class VirtualFranka:
    """A robot that runs while this context is open.

    Attributes:
        address: Where clients find it.
        ready: What it said when it began: its robot and scheduler.
    """

    def __init__(self, arguments: Sequence[str] = (), *, address: str | None = None) -> None:
        """Remember how to start it.

        Args:
            arguments: Further options of the program.
            address: Where to listen; a free one of the loopback network when it is not given.
        """
        self.address = address or free_address()
        self.ready: Mapping[str, Any] = {}
        self.control_path = Path(tempfile.mkdtemp(prefix="vfr")) / "control"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> VirtualFranka:
        """Start it and wait until clients may come.

        Raises:
            FileMissingError: The program is not built.
            UsageError: It refuses the options.
            ServerUnreachableError: It ended at once, for a reason that the message gives.
        """
        command = [find_program(), "--end-with-parent", "--bind", self.address, "--control", str(self.control_path)]
        command += self._arguments
        # A session of its own: an interrupt at the keyboard stops its clients first.
        self._process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None and self._process.stderr is not None  # noqa: S101, PT018
        line = self._process.stdout.readline()
        if not line:
            said = self._process.stderr.read().decode(errors="replace").strip()
            status = self._process.wait()
            self._close_pipes()
            raise (UsageError if status == WRONG_USAGE else ServerUnreachableError)(said or f"it ended with {status}")
        self.ready = msgspec.json.decode(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> Mapping[str, Any]:
        """End it, and return what it reports of its time: periods, missed ones, the rate it held.

        Raises:
            TransportError: It did not end by itself, or failed.
        """
        process, self._process = self._process, None
        if process is None:
            return {}
        process.send_signal(signal.SIGTERM)
        try:
            out, err = process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        shutil.rmtree(self.control_path.parent, ignore_errors=True)
        if process.returncode != 0:
            msg = f"the virtual Franka ended with status {process.returncode}: {err.decode(errors='replace').strip()}"
            raise TransportError(msg)
        report: Mapping[str, Any] = msgspec.json.decode(out.splitlines()[-1])
        return report

    @property
    def process_id(self) -> int | None:
        """Of the program, while it runs."""
        return None if self._process is None else self._process.pid

    def ask(self, words: str) -> Mapping[str, Any]:
        """Say something to the control socket and return the answer; docs/virtual_franka.md lists the words.

        Raises:
            UsageError: It does not know them; the message says what it knows.
            TransportError: It does not answer.
        """
        return ask(self.control_path, words)

    def _close_pipes(self) -> None:
        if self._process is not None and self._process.stdout and self._process.stderr:
            self._process.stdout.close()
            self._process.stderr.close()
        self._process = None
        shutil.rmtree(self.control_path.parent, ignore_errors=True)


def ask(control: str | os.PathLike[str], words: str) -> Mapping[str, Any]:
    """Say something to a robot's control socket; see `VirtualFranka.ask`."""
    try:
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(os.fspath(control))
            connection.sendall(f"{words}\n".encode())
            text = connection.makefile("rb").readline()
    except OSError as error:
        msg = f"the virtual Franka does not answer at {control}: {error}"
        raise TransportError(msg) from error
    answer: Mapping[str, Any] = msgspec.json.decode(text)
    if not answer["ok"]:
        raise UsageError(str(answer["error"]))
    return answer
