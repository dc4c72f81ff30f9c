"""A real OpenSSH server for one stand-in: its own keys, its own address, and the configuration of a client for it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from st4vla.contracts.errors import MissingExtraError

PORT = 2022
#: Where Debian and its descendants put it, which is not on everybody's path.
SSHD = "/usr/sbin/sshd"


@dataclass(frozen=True)
class SshServer:
    """The files of an sshd.

    Attributes:
        name: What `ssh` calls it.
        address: Of the loopback network, so that each stand-in has ports of its own.
        folder: Where they lie.
        port: Where it listens.
        inside: Where they lie as sshd sees it, which may have another root.
        sshd: Path of the program there; found, if it is not given.
    """

    name: str
    address: str
    folder: Path
    port: int = PORT
    inside: Path | None = None
    sshd: str = ""

    @property
    def client_config(self) -> Path:
        """What `ssh -F` reads."""
        return self.folder / "ssh_config"

    @property
    def command(self) -> tuple[str, ...]:
        """Run it; it stays in the foreground."""
        inside = self.inside or self.folder
        return (self.sshd or find_sshd(), "-D", "-f", str(inside / "sshd_config"), "-E", str(inside / "sshd.log"))

    def write(self, environment: Mapping[str, str]) -> None:
        """Make its keys and its configuration.

        Args:
            environment: What every session has, whatever the client says.

        Raises:
            MissingExtraError: OpenSSH is not installed.
        """
        _ = self.command
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("host_key", "user_key"):
            _make_key(self.folder / name, f"{name} of {self.name}")
        shutil.copyfile(self.folder / "user_key.pub", self.folder / "authorized_keys")
        host = (self.folder / "host_key.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[{self.address}]:{self.port} {host[0]} {host[1]}\n")
        (self.folder / "sshd_config").write_text(_lines(self._server(environment)))
        write_client_config(self.client_config, [self])

    def client_lines(self, port: int | None = None) -> str:
        """Return this host's part of a client's configuration; with another port for a client that takes a detour."""
        fields = {
            "HostName": self.address,
            "Port": str(port or self.port),
            "HostKeyAlias": f"[{self.address}]:{self.port}",
            "User": user(),
            "IdentityFile": f'"{self.folder / "user_key"}"',
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": f'"{self.folder / "known_hosts"}"',
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "LogLevel": "ERROR",
        }
        return f"Host {self.name}\n" + "".join(f"  {key} {value}\n" for key, value in fields.items())

    def _server(self, environment: Mapping[str, str]) -> dict[str, str]:
        inside = self.inside or self.folder
        forced = " ".join(f'"{name}={value}"' for name, value in environment.items())
        return {
            "ListenAddress": self.address,
            "Port": str(self.port),
            "HostKey": f'"{inside / "host_key"}"',
            "AuthorizedKeysFile": f'"{inside / "authorized_keys"}"',
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            # Its folder may lie below one that others can write to.
            "StrictModes": "no",
            "PermitRootLogin": "prohibit-password",
            "PidFile": "none",
            "PrintMotd": "no",
            "SetEnv": forced,
        }


def user() -> str:
    """Return who this process is."""
    return pwd.getpwuid(os.geteuid()).pw_name


def write_client_config(path: Path, servers: list[SshServer]) -> None:
    """Write what `ssh -F` reads to know several servers by their names."""
    path.write_text("\n".join(server.client_lines() for server in servers))


def find_sshd() -> str:
    """Return the path of sshd, which must be a whole one.

    Raises:
        MissingExtraError: It is not installed.
    """
    found = shutil.which("sshd") or (SSHD if Path(SSHD).is_file() else None)
    if found is None or shutil.which("ssh-keygen") is None:
        msg = "OpenSSH's server is not installed; on Debian and Ubuntu: sudo apt-get install openssh-server"
        raise MissingExtraError(msg)
    return found


def _make_key(path: Path, comment: str) -> None:
    if not path.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603


def _lines(fields: Mapping[str, str]) -> str:
    return "".join(f"{key} {value}\n" for key, value in fields.items())
