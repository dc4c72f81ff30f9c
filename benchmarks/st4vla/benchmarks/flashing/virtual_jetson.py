"""A device whose every program is made for aarch64: the root that `make virtual-jetson` makes, run by QEMU."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from st4vla.benchmarks.flashing.jetson_files import JetsonFiles
from st4vla.benchmarks.flashing.power import NAMESPACE
from st4vla.benchmarks.flashing.powered_device import QUICK, PoweredDevice, free_address, init_script
from st4vla.benchmarks.flashing.sshd import SSHD, SshServer
from st4vla.contracts.errors import FileMissingError
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.layout import DEFAULT_ROOT, Layout

SCRIPTS = Path(__file__).parents[3] / "virtual_jetson"
#: Where `make virtual-jetson` puts it.
MADE = Path(__file__).parents[4] / "out/virtual_jetson"
#: Emulated, all takes some thirty times as long.
COMMAND_TIMEOUT_S = 300.0
_SSH, _INIT, _SYSTEM = "etc/st4vla-ssh", "usr/local/sbin/virtual-jetson-init", "opt/jetson"
#: The list of trusted keys as it is brought to a new device.
_TRUST = "etc/st4vla-trust.json"


class VirtualJetson(PoweredDevice):
    """A root of Debian for aarch64 with this project in it, as `make.sh` leaves it.

    A second life finds what the first one stored, unless it begins afresh.

    Args:
        trust: File of its first trust list, which it is given if it has none.
        made: The folder that `make.sh` was given.
        config: Its configuration.
        name: What `ssh` calls it.
        fresh: Throw away what it stored.

    Raises:
        FileMissingError: It has not been made.
    """

    def __init__(
        self,
        trust: Path,
        made: Path = MADE,
        *,
        config: DeviceConfig = QUICK,
        name: str = "virtual-jetson",
        fresh: bool = False,
    ) -> None:
        self.root = made / "root"
        if not (self.root / "opt/st4vla/own").is_dir():
            msg = f"no virtual Jetson in {made}; make it with: make virtual-jetson"
            raise FileMissingError(msg)
        environment = {
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ST4VLA_ROOT": str(DEFAULT_ROOT),
        }
        ssh = SshServer(name, free_address(), self.root / _SSH, inside=Path("/") / _SSH, sshd=SSHD)
        layout = Layout(self.root / DEFAULT_ROOT.relative_to("/"))
        if fresh:
            shutil.rmtree(layout.root, ignore_errors=True)
        super().__init__(layout, ssh, made / "console.log", environment)
        self.ssh.write(environment)
        JetsonFiles().write(self.root / _SYSTEM)
        init = self.root / _INIT
        init.write_text(init_script(ssh.command))
        init.chmod(0o755)
        if not layout.trust.exists():
            layout.root.mkdir(parents=True, exist_ok=True)
            (self.root / _TRUST).write_bytes(trust.read_bytes())
            self.run("st4vla", "device", "init", "--trust", f"/{_TRUST}").check_returncode()
        self.configure(config, f"/{_SYSTEM}")

    @property
    def init(self) -> Sequence[str]:
        """The command of its first process."""
        return self._inside(f"/{_INIT}")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs beside whatever else runs in it; how that ended is in the result."""
        return subprocess.run(  # noqa: S603
            [*NAMESPACE, "--", *self._inside(*command)],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def _inside(self, *command: str) -> Sequence[str]:
        root = str(self.root)
        return (str(SCRIPTS / "emulation.sh"), root, "chroot", root, *command)
