import subprocess
import time
from pathlib import Path

import pytest

from st4vla.benchmarks.flashing.jetson_files import JetsonFiles
from st4vla.benchmarks.flashing.power import Powered
from st4vla.benchmarks.flashing.powered_device import free_address
from st4vla.benchmarks.flashing.sshd import SshServer
from st4vla.runtime.device import this_device


def ssh(server: SshServer, command: str) -> subprocess.CompletedProcess[str]:
    words = ["ssh", "-F", str(server.client_config), "-o", "BatchMode=yes", server.name, command]
    deadline = time.monotonic() + 20
    while True:
        answer = subprocess.run(words, capture_output=True, text=True, check=False)
        if "Connection refused" not in answer.stderr or time.monotonic() > deadline:
            return answer
        time.sleep(0.02)


def test_a_session_has_the_environment_that_the_server_forces(tmp_path: Path) -> None:
    server = SshServer("stand-in", free_address(), tmp_path / "with a blank")
    server.write({"HOME": str(tmp_path), "ST4VLA_ROOT": str(tmp_path / "its root"), "PATH": "/nowhere:/usr/bin:/bin"})
    init = f"mkdir -p /run/sshd; exec '{server.command[0]}' -D -f '{server.command[3]}' -e"
    with Powered(["sh", "-c", init], tmp_path / "log"):
        answer = ssh(server, 'echo "$ST4VLA_ROOT"; echo "$PATH"')
        assert answer.stdout.splitlines() == [str(tmp_path / "its root"), "/nowhere:/usr/bin:/bin"], answer.stderr
        # Nobody else gets in: another key is not asked for.
        (server.folder / "authorized_keys").write_text("")
        assert "Permission denied" in ssh(server, "true").stderr


@pytest.mark.parametrize("mode", ["MAXN", "MODE_30W"])
def test_a_jetsons_files_are_read_as_those_of_a_jetson(tmp_path: Path, mode: str) -> None:
    JetsonFiles(l4t="36.4.3", power_mode=mode).write(tmp_path)
    device = this_device(tmp_path)
    assert device.jetpack.startswith("# R36 (release), REVISION: 4.3,")
    assert device.power_mode == {"MAXN": "pmode:0000", "MODE_30W": "pmode:0002"}[mode]
    assert device.gpu is not None
    assert "Jetson" in device.gpu.name
