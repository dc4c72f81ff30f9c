"""What stand-ins for a device have in common: power, a console, an sshd, a supervisor, and where all that is found."""

from __future__ import annotations

import os
import random
import shlex
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType

import msgspec
from typing_extensions import Self

from st4vla.benchmarks.flashing.power import Powered
from st4vla.benchmarks.flashing.sshd import PORT, SshServer
from st4vla.contracts.errors import PortInUseError, ServerUnreachableError, UsageError
from st4vla.runtime.flashing.config import BuildConfig, DeviceConfig, PreflightConfig, ServeConfig, TrialConfig
from st4vla.runtime.flashing.layout import Layout

SERVE_PORT = 5555
START_TIMEOUT_S = 60.0
#: Short enough for tests; a real device takes its time, and gives its builds only what others leave of the processors.
QUICK = DeviceConfig(
    serve=ServeConfig(backend="onnxruntime"),
    trial=TrialConfig(seconds=2.0),
    preflight=PreflightConfig(disk_reserve_bytes=0, memory_reserve_bytes=0),
    build=BuildConfig(nice=0),
)


class PoweredDevice(ABC):
    """A device that is off until `boot`; nothing of it runs when its context ends, and what it stored is kept.

    Args:
        layout: Its files, as they are found from outside.
        ssh: Its sshd.
        console: File for what its processes say.
        environment: Of all its processes; ``ST4VLA_ROOT`` is where they see the device's files.

    Attributes:
        layout: As given.
        ssh: As given.
        console: As given.
        environment: As given.
        endpoint: Where its policy is served.
    """

    def __init__(self, layout: Layout, ssh: SshServer, console: Path, environment: Mapping[str, str]) -> None:
        self.layout, self.ssh, self.console, self.environment = layout, ssh, console, environment
        self.endpoint = f"tcp://{ssh.address}:{SERVE_PORT}"
        self._power: Powered | None = None

    @property
    def name(self) -> str:
        """What `ssh` and people call it."""
        return self.ssh.name

    @property
    @abstractmethod
    def init(self) -> Sequence[str]:
        """The command of its first process."""

    def configure(self, config: DeviceConfig, system_root: str) -> None:
        """Write its configuration, which its next boot reads; where it listens is filled in."""
        served = msgspec.structs.replace(config.serve, bind=self.endpoint)
        config = msgspec.structs.replace(config, serve=served, system_root=system_root)
        self.layout.config.write_bytes(msgspec.json.format(msgspec.json.encode(config)))

    def boot(self) -> None:
        """Start sshd and the supervisor, which is started again whenever it ends; see `await_supervisor`.

        Raises:
            UsageError: It is on already.
        """
        if self.on:
            msg = f"{self.name} is on already"
            raise UsageError(msg)
        self._power = Powered(self.init, self.console, self.environment)

    @property
    def on(self) -> bool:
        """Whether it has power."""
        return self._power is not None and self._power.on

    def processes(self) -> list[int]:
        """Return the numbers of its processes, as this machine counts them."""
        return [] if self._power is None else self._power.processes()

    def cut_power(self) -> None:
        """Kill every process of it at one instant; they are gone when this returns."""
        power, self._power = self._power, None
        if power is not None:
            power.cut()

    def ssh_run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it through its sshd; how that ended is in the result."""
        words = ["ssh", "-F", str(self.ssh.client_config), "-o", "BatchMode=yes", self.name, command]
        return subprocess.run(words, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)  # noqa: S603

    def await_supervisor(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until its supervisor takes questions.

        Raises:
            ServerUnreachableError: It does not; the message is the end of what it said.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.on:
            if self._listens():
                return
            time.sleep(0.01)
        msg = f"the supervisor of {self.name} did not start: {self.console.read_text(errors='replace')[-2000:]}"
        raise ServerUnreachableError(msg)

    def _listens(self) -> bool:
        if self._power is None:
            return False
        with suppress(OSError), closing(socket.socket(socket.AF_UNIX)) as probe:
            # Through its open folder, a path of any length is reached.
            folder = os.open(self._power.seen_inside(Path(self.environment["ST4VLA_ROOT"])), os.O_PATH)
            try:
                probe.connect(f"/proc/self/fd/{folder}/{self.layout.control.name}")
            finally:
                os.close(folder)
            return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut_power()


def init_script(sshd: Sequence[str], first: Sequence[str] = ()) -> str:
    """Return what a device's first process does in the place of systemd, as a script for sh.

    Args:
        sshd: Command of its sshd.
        first: Commands before all else.
    """
    lines = (
        *first,
        # Debian's sshd wants this folder, and root alone can make it.
        "[ $(id -u) != 0 ] || mkdir -p /run/sshd",
        f"{shlex.join(sshd)} &",
        # As a unit with Restart=always.
        "while :; do st4vla device run; sleep 0.2; done",
    )
    return "#!/bin/sh\n" + "".join(f"{line}\n" for line in lines)


def free_address() -> str:
    """Return an address of the loopback network at which nobody listens on the ports of a stand-in.

    Raises:
        PortInUseError: None was found.
    """
    for _ in range(100):
        address = "127." + ".".join(str(random.randint(1, 254)) for _ in range(3))  # noqa: S311
        with suppress(OSError), closing(socket.socket()) as ssh, closing(socket.socket()) as server:
            ssh.bind((address, PORT))
            server.bind((address, SERVE_PORT))
            return address
    msg = f"ports {PORT} and {SERVE_PORT} are taken at a hundred addresses of 127.0.0.0/8"
    raise PortInUseError(msg)
