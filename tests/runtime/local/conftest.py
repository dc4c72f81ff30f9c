"""A door for clients on this machine, and a client that says to it whatever a test wants."""

import array
import fcntl
import mmap
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.messages import Message, Observation, View
from st4vla.contracts.wire import decode, encode
from st4vla.runtime.core import Core
from st4vla.runtime.local.door import LocalDoor
from st4vla.runtime.local.memory import HEAD_BYTES, MAGIC, NOTE, VERSION
from st4vla.runtime.policy import NullPolicy, Policy
from st4vla.runtime.scheduler import SchedulingConfig

#: Views of this side lie side by side in a message.
SIZE = 32


def sealed_memory(size: int, *, seals: int = fcntl.F_SEAL_SHRINK) -> int:
    """Return the descriptor of a new memory that has so many bytes."""
    descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


class Neighbour:
    """A client on this machine, in no hurry."""

    def __init__(self, path: Path) -> None:
        self.stream = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.stream.connect(str(path))
        self.stream.settimeout(5.0)
        self.memories: dict[int, mmap.mmap] = {}
        self.sequence = 0

    def observation(self, **more: Any) -> Observation:
        self.sequence += 1
        pixels = np.full((SIZE, SIZE, 3), self.sequence % 256, np.uint8)
        views = more.pop("views", [View.from_pixels(name, pixels, monotonic_ns()) for name in ("agentview", "wrist")])
        return Observation(self.sequence, tuple(views), more.pop("instruction", "lift"), **more)

    def share(self, message: Message | bytes, index: int = 0, size: int = 65536) -> None:
        """Write a message into a memory and send a note of it, as the firmware bridge does."""
        frame = bytes(encode(message)) if not isinstance(message, bytes) else message
        descriptors = []
        if index not in self.memories:
            descriptor = sealed_memory(size)
            self.memories[index] = mmap.mmap(descriptor, size)
            descriptors = [descriptor]
        memory = self.memories[index]
        memory[HEAD_BYTES : HEAD_BYTES + len(frame)] = frame
        memory[0] = 1
        try:
            self.note(index, len(frame), descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def note(self, index: int, size: int, descriptors: list[int] | None = None) -> None:
        self.packet(NOTE.pack(MAGIC, VERSION, index, size), descriptors)

    def packet(self, data: bytes, descriptors: list[int] | None = None) -> None:
        extras = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.stream.sendmsg([data], extras)

    def hear(self) -> Message:
        return decode(self.stream.recv(65536))

    def is_lent(self, index: int = 0) -> bool:
        return bool(self.memories[index][0])

    def await_return(self, index: int = 0) -> None:
        wait_until(lambda: not self.is_lent(index), "the memory was not given back")

    def close(self) -> None:
        self.stream.close()


def wait_until(holds: Callable[[], bool], text: str, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, text
        time.sleep(0.001)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


@pytest.fixture
def serve(path: Path) -> Iterator[Callable[..., Core]]:
    """Start a core behind a door at `path`."""
    running: list[tuple[Core, LocalDoor]] = []

    def begin(policy: Policy | None = None, recorder: Any = None, **config: Any) -> Core:
        core = Core(policy or NullPolicy(image_size=SIZE), SchedulingConfig(**config), recorder)
        door = LocalDoor(core, path)
        door.start()
        core.start()
        running.append((core, door))
        return core

    yield begin
    for core, door in running:
        core.stop()
        door.stop()


@pytest.fixture
def come(path: Path) -> Iterator[Callable[[], Neighbour]]:
    """Come in as a client."""
    come_in: list[Neighbour] = []

    def begin() -> Neighbour:
        come_in.append(Neighbour(path))
        return come_in[-1]

    yield begin
    for neighbour in come_in:
        neighbour.close()


@pytest.fixture
def memory_of() -> Callable[..., int]:
    """Make a memory of some size and return its descriptor."""
    return sealed_memory


@pytest.fixture
def until() -> Callable[[Callable[[], bool], str], None]:
    """Wait until something holds, or fail with a text."""
    return wait_until
