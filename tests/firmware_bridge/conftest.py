"""The compiled bridge and what it talks to. `make ctest` builds it, and without it the tests fail.

ST4VLA_BUILD names another build's folder, ST4VLA_EMULATOR what runs its programs, as in
`qemu-aarch64-static -L build/arm64`.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import zmq

from st4vla.contracts.messages import Goodbye, Hello, Message, Observation, Welcome
from st4vla.contracts.wire import decode, encode
from st4vla.runtime.core import Core
from st4vla.runtime.curve import ServerKeys
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.scheduler import SchedulingConfig
from st4vla.runtime.server import Server

ROOT = Path(__file__).resolve().parents[2]
SIZE = 28


def built(name: str) -> Path:
    path = Path(os.environ.get("ST4VLA_BUILD", ROOT / "build")) / "firmware_bridge" / name
    if not path.exists():
        pytest.fail(f"{name} is not built: make ctest")
    return path


@pytest.fixture(scope="session")
def program() -> Path:
    return built("st4vla-bridge")


@pytest.fixture(scope="session")
def library() -> Path:
    return built("libst4vla_bridge.so")


@dataclass
class Ended:
    """How a program ended, and the JSON of its last line."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> dict[str, Any]:
        found = json.loads(self.out.splitlines()[-1])
        assert isinstance(found, dict)
        return found

    def count(self, name: str) -> int:
        return int(self.line["counters"][name])


class Running:
    """A program that runs until it is told to end."""

    def __init__(self, command: list[str]) -> None:
        command = [*os.environ.get("ST4VLA_EMULATOR", "").split(), *command]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait(self, timeout_s: float = 20.0) -> Ended:
        out, err = self._process.communicate(timeout=timeout_s)
        return Ended(self._process.returncode, out, err)

    def end(self) -> Ended:
        """Interrupt it, as a terminal does."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def start(program: Path) -> Iterator[Callable[..., Running]]:
    """Start `st4vla-bridge` with these arguments."""
    started: list[Running] = []

    def begin(*arguments: str) -> Running:
        started.append(Running([str(program), *arguments]))
        return started[-1]

    yield begin
    for running in started:
        running.kill()


@pytest.fixture
def run(start: Callable[..., Running]) -> Callable[..., Ended]:
    return lambda *arguments: start(*arguments).wait()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start the runtime's own server, on a policy that thinks nothing."""
    servers: list[Server] = []

    def begin(endpoint: str = "tcp://127.0.0.1:*", keys: ServerKeys | None = None, **policy: Any) -> Server:
        server = Server(Core(NullPolicy(image_size=SIZE, **policy), SchedulingConfig()), endpoint, keys)
        server.start()
        servers.append(server)
        return server

    yield begin
    for server in servers:
        server.stop()


Parts = list[bytes]
Answer = Callable[[Observation], list[Parts]]


@dataclass
class Impostor:
    """A server that says what a test wants. It greets as it is told, or not at all."""

    welcome: Welcome | None
    answer: Answer
    seen: list[Message] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 0)
        self._router.bind("tcp://127.0.0.1:*")
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            if not self._router.poll(20):
                continue
            client, frame = self._router.recv_multipart()
            message = decode(frame)
            self.seen.append(message)
            self.frames.append(frame)
            if isinstance(message, Hello) and self.welcome is not None:
                self._router.send_multipart([client, encode(self.welcome)])
            elif isinstance(message, Observation):
                for parts in self.answer(message):
                    self._router.send_multipart([client, *parts])

    @property
    def observations(self) -> list[Observation]:
        return [message for message in self.seen if isinstance(message, Observation)]

    def await_goodbye(self) -> bool:
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            if any(isinstance(message, Goodbye) for message in self.seen):
                return True
            time.sleep(0.01)
        return False

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._context.destroy(linger=0)


@pytest.fixture
def pretend() -> Iterator[Callable[..., Impostor]]:
    """Start an impostor."""
    started: list[Impostor] = []

    def begin(welcome: Welcome | None, answer: Answer = lambda _: []) -> Impostor:
        started.append(Impostor(welcome, answer))
        return started[-1]

    yield begin
    for impostor in started:
        impostor.stop()
