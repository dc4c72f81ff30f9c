"""A device that stands in for a Jetson on this machine, cheap enough for fifty of them.

What runs in it is the product: `st4vla device run`, and `st4vla device agent` behind a real OpenSSH server. Only what a
Jetson's files say of it is made up. It shares this machine's kernel, disk and processors.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import st4vla
from st4vla.benchmarks.flashing.jetson_files import JetsonFiles
from st4vla.benchmarks.flashing.powered_device import (
    QUICK,
    START_TIMEOUT_S,
    PoweredDevice,
    free_address,
    init_script,
)
from st4vla.benchmarks.flashing.sshd import SshServer
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.layout import Layout

#: The command `st4vla`, as this process would run it.
ST4VLA = (sys.executable, "-c", "from st4vla.contracts.command_line import main; raise SystemExit(main())")


class StandIn(PoweredDevice):
    """A device in a folder; what an earlier life left there is kept.

    Args:
        name: What `ssh` and people call it.
        folder: For everything of it.
        trust: File of its first trust list, which it is given if it has none.
        config: Its configuration; where it listens, and where its Jetson's files lie, is filled in.
        files: What its Jetson's files say.
        adjust: Changes the environment of all its processes.
        first: Commands that it starts with, such as mounts, which nobody else sees.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        trust: Path,
        *,
        config: DeviceConfig = QUICK,
        files: JetsonFiles | None = None,
        adjust: Callable[[Mapping[str, str]], Mapping[str, str]] = dict,
        first: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        environment = {
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "PATH": f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "ST4VLA_ROOT": str(folder / "root"),
            # This project as it is imported here, wherever it lies.
            "PYTHONPATH": os.pathsep.join(str(Path(room).parent) for room in st4vla.__path__),
        }
        super().__init__(
            Layout(folder / "root"),
            SshServer(name, free_address(), folder / "ssh"),
            folder / "console.log",
            adjust(environment),
        )
        for kept in ("home", "bin", "root"):
            (folder / kept).mkdir(parents=True, exist_ok=True)
        self.ssh.write(self.environment)
        (files or JetsonFiles()).write(folder / "system")
        (folder / "init").write_text(init_script(self.ssh.command, first))
        program = folder / "bin/st4vla"
        program.write_text(f'#!/bin/sh\nexec {shlex.join(ST4VLA)} "$@"\n')
        program.chmod(0o755)
        if not self.layout.trust.exists():
            self.st4vla("device", "init", "--trust", str(trust)).check_returncode()
        self.set_up(config)

    @property
    def init(self) -> Sequence[str]:
        """The command of its first process."""
        return ("/bin/sh", str(self.folder / "init"))

    def set_up(self, config: DeviceConfig) -> None:
        """Write another configuration, for its next boot."""
        self.configure(config, str(self.folder / "system"))

    def st4vla(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands as somebody who sits at it would; how that ended is in the result."""
        command = [str(self.folder / "bin/st4vla"), *arguments]
        return subprocess.run(  # noqa: S603
            command, env=self.environment, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False
        )
