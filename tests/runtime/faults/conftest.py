"""Processes that are killed, and networks that are cut."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from st4vla.runtime.key_files import make_pair, write_pair, write_public

PEER = Path(__file__).with_name("peer.py")


class Peer:
    """A process of `peer.py`.

    Attributes:
        first: The first line that it printed.
    """

    def __init__(self, kind: str, endpoint: str, namespace: str | None = None, keys: Path | None = None) -> None:
        inside = [] if namespace is None else ["ip", "netns", "exec", namespace]
        arguments = [str(PEER), kind, endpoint, *([] if keys is None else [str(keys)])]
        self.process = subprocess.Popen([*inside, sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline().strip()

    def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()

    def finish(self) -> dict[str, Any]:
        """Stop it and return what it saw."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=10)
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found


@pytest.fixture
def start() -> Iterator[Callable[..., Peer]]:
    with ExitStack() as stack:

        def begin(kind: str, endpoint: str, namespace: str | None = None, keys: Path | None = None) -> Peer:
            peer = Peer(kind, endpoint, namespace, keys)
            stack.callback(peer.kill)
            return peer

        yield begin


def wait_s(seconds: float) -> None:
    """Let a fault last: a stretch of real time is what these tests are about."""
    time.sleep(seconds)


@pytest.fixture
def lasting() -> Callable[[float], None]:
    return wait_s


class Network:
    """Two hosts on one cable: network namespaces of the test's own.

    Attributes:
        robot: Namespace of the client.
        runtime: Namespace of the server.
        endpoint: Where a server in it listens.
        keys: Folder of the keys of both: other machines reach no server without.
    """

    def __init__(self, name: str, keys: Path) -> None:
        self.keys = keys
        robot, server = make_pair(), make_pair()
        write_pair(keys / "server", "server", server)
        write_pair(keys, "robot", robot)
        write_public(keys / "server" / "clients" / "robot.key", "robot", robot.public)
        self.robot, self.runtime = f"{name}a", f"{name}b"
        self.endpoint = "tcp://10.231.7.2:5555"
        for namespace in (self.robot, self.runtime):
            sh("ip", "netns", "add", namespace)
        sh(
            "ip",
            "link",
            "add",
            "eth",
            "netns",
            self.robot,
            "type",
            "veth",
            "peer",
            "name",
            "eth",
            "netns",
            self.runtime,
        )
        for namespace, address in ((self.robot, "10.231.7.1/24"), (self.runtime, "10.231.7.2/24")):
            sh("ip", "-n", namespace, "addr", "add", address, "dev", "eth")
            for device in ("eth", "lo"):
                sh("ip", "-n", namespace, "link", "set", device, "up")

    def lose(self, share: float) -> None:
        """Drop a share of the packets, each way."""
        for namespace in (self.robot, self.runtime):
            chance = ("-m", "statistic", "--mode", "random", "--probability", str(share))
            sh("ip", "netns", "exec", namespace, "iptables", "-A", "INPUT", "-i", "eth", *chance, "-j", "DROP")

    def lose_nothing(self) -> None:
        for namespace in (self.robot, self.runtime):
            sh("ip", "netns", "exec", namespace, "iptables", "-F")

    def cut(self) -> None:
        """Let nothing through, as a cable that is cut; an interface that goes down comes up a second late by itself."""
        for chain in ("INPUT", "OUTPUT"):
            sh("ip", "netns", "exec", self.runtime, "iptables", "-A", chain, "-j", "DROP")

    def close(self) -> None:
        for namespace in (self.robot, self.runtime):
            sh("ip", "netns", "del", namespace)


def sh(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("iptables"):
        pytest.skip("network namespaces need root, iproute2 and iptables")
    made = Network(f"st4vla{os.getpid()}", tmp_path / "keys")
    yield made
    made.close()
