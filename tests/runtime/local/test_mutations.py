"""Notes, memories and messages that are nearly good, from a client that means no well, beside one that does."""

import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.messages import ActionChunk, Hello
from st4vla.contracts.wire import encode
from st4vla.runtime.core import Core
from st4vla.runtime.local.memory import HEAD_BYTES, MAGIC, NOTE, VERSION

Serve = Callable[..., Core]
Come = Callable[[], Any]


def something_else(rng: random.Random) -> int:
    """Return a descriptor of what is no memory, or not one that may be shared."""
    kind = rng.randrange(4)
    if kind == 0:
        return os.open("/dev/zero", os.O_RDONLY)
    if kind == 1:
        ends = os.pipe()
        os.close(ends[1])
        return ends[0]
    memory = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING if kind == 2 else 0)
    os.ftruncate(memory, rng.choice((0, 1, HEAD_BYTES, 8192)))
    return memory


def bother(client: Any, rng: random.Random) -> None:
    """Send one thing that is nearly good."""
    kind = rng.randrange(5)
    if kind == 0:
        client.packet(rng.randbytes(rng.randrange(1, 200)))
    elif kind == 1:
        size = rng.choice((0, 1, 32, 8192, 2**31, 2**63 + 1, rng.getrandbits(64)))
        client.packet(NOTE.pack(MAGIC, rng.choice((0, VERSION)), rng.choice((0, 1, 7, 8, 65535)), size))
    elif kind == 2:
        descriptor = something_else(rng)
        try:
            client.note(rng.randrange(4), 100, [descriptor])
        finally:
            os.close(descriptor)
    else:
        frame = bytearray(encode(client.observation()))
        for _ in range(rng.randrange(4)):
            # Where counts and offsets are, mostly.
            frame[rng.randrange(300 if rng.random() < 0.9 else len(frame))] = rng.randrange(256)
        client.share(bytes(frame[: rng.choice((len(frame), len(frame), rng.randrange(len(frame))))]), rng.randrange(4))


def attack(core: Core, stranger: Any, well: Any, count: int) -> None:
    rng, scribbling = random.Random(3), threading.Event()

    def scribble() -> None:
        noise = random.Random(4)
        while not scribbling.wait(0.0001):
            for memory in list(stranger.memories.values()):
                memory[HEAD_BYTES + noise.randrange(400)] = noise.randrange(256)

    scribbler = threading.Thread(target=scribble)
    scribbler.start()
    stranger.stream.setblocking(False)
    try:
        for number in range(count):
            with suppress(BlockingIOError):
                bother(stranger, rng)
            with suppress(BlockingIOError):
                while stranger.stream.recv(65536):
                    pass
            if number % 100 == 0:
                well.share(well.observation())
                assert isinstance(well.hear(), ActionChunk)
    finally:
        scribbling.set()
        scribbler.join()
    assert core.counts["refused_internal"] == 0
    assert core.counts["internal_errors"] == 0
    assert core.counts["refused_malformed_message"] > count / 100


def test_a_server_beside_a_client_that_means_no_well_goes_on_serving(serve: Serve, come: Come) -> None:
    core = serve()
    attack(core, come(), come(), 3_000)
    late = come()
    late.packet(encode(Hello(1)))
    late.hear()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_million_things_that_are_nearly_good(serve: Serve, come: Come) -> None:
    core = serve()
    before = len(list(Path("/proc/self/fd").iterdir()))
    attack(core, come(), come(), 1_000_000)
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 40
