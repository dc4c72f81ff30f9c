"""Virtual Frankas, and unmodified clients in processes of their own."""

import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from st4vla.benchmarks.virtual_franka.process import VirtualFranka

CLIENTS = Path(__file__).parent / "clients"
#: A motion that loses packets to the load of the machine, as any on a busy one may, is tried again.
ATTEMPTS = 4


class Client:
    """A client's process; its script prints one line of JSON when it is done."""

    def __init__(self, name: str, action: str, address: str, *arguments: str) -> None:
        if platform.machine() != "x86_64" and importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} has no wheel for {platform.machine()}")
        self._process = subprocess.Popen(
            [sys.executable, str(CLIENTS / f"{name}_client.py"), action, address, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self, timeout_s: float = 20.0) -> dict[str, Any]:
        try:
            out, err = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, err = self._process.communicate()
        assert self._process.returncode == 0, f"{out}\n{err}"
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def robot() -> Iterator[VirtualFranka]:
    with VirtualFranka() as running:
        yield running


def run_client(name: str, action: str, robot: VirtualFranka, *arguments: str) -> dict[str, Any]:
    """Run a client to its end, again when the machine was too busy to send all its commands."""
    for attempt in range(ATTEMPTS):
        before = robot.ask("status")["lost_commands"]
        result = Client(name, action, robot.address, *arguments).result()
        if result["ok"] or robot.ask("status")["lost_commands"] == before or attempt == ATTEMPTS - 1:
            break
    return result


@pytest.fixture
def run() -> Run:
    return run_client


@pytest.fixture
def start() -> type[Client]:
    return Client
