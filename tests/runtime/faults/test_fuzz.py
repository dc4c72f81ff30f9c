"""Mutated messages against the decoder and against a server, and half an hour at full rate."""

import random
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import zmq

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import WireError
from st4vla.contracts.messages import (
    ActionChunk,
    Goodbye,
    Hello,
    ImageEncoding,
    Message,
    Observation,
    RobotState,
    View,
)
from st4vla.contracts.wire import checksum, decode, encode
from st4vla.contracts.wire_table import HEADER
from st4vla.runtime.client import Client

SIZE = 64
LAST = 987_654_321
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)


def seeds(size: int = 8) -> list[bytes]:
    """Good messages to begin with; small, so that mutations hit what has a meaning."""
    pixels = np.zeros((size, size, 3), np.uint8)
    state = RobotState(1, np.zeros(7), np.zeros(7), np.eye(4), 0.04)
    views = tuple(View.from_pixels(name, pixels, 1) for name in ("agentview", "wrist"))
    jpeg = View("wrist", 1, size, size, ImageEncoding.JPEG, np.arange(60, dtype=np.uint8))
    messages: list[Message] = [
        Hello(1),
        Goodbye(2),
        Observation(3, views, "lift the cube", seed=9, deadline_ns=10**9, robot_state=state, sent_ns=5),
        Observation(4, (views[0], jpeg), "lift", replan=True, wants_plans=True, fresh=True, sent_ns=5),
    ]
    return [bytes(encode(message)) for message in messages]


def mutated(rng: random.Random, good: list[bytes]) -> bytes:
    """Return a message that is nearly good; half of them with a length and a checksum that are true again."""
    frame = bytearray(rng.choice(good))
    for _ in range(rng.randrange(1, 5)):
        kind, at = rng.randrange(6), rng.randrange(len(frame) or 1)
        if kind == 0 and frame:
            frame[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and frame:
            frame[at] = rng.choice(INTERESTING)
        elif kind == 2:
            del frame[at : at + rng.randrange(64)]
        elif kind == 3:
            frame[at:at] = rng.randbytes(rng.randrange(64))
        elif kind == 4 and len(frame) >= 8:
            at = rng.randrange(len(frame) - 7)
            frame[at : at + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, rng.randbytes(8)))
        else:
            other = rng.choice(good)
            frame[at:] = other[rng.randrange(len(other)) :]
    if rng.random() < 0.5 and len(frame) >= HEADER.size:
        struct.pack_into("<I", frame, 8, len(frame) - HEADER.size)
        struct.pack_into("<I", frame, 12, checksum(frame))
    return bytes(frame)


def attack_decoder(count: int) -> int:
    """Return how many of the mutated messages were taken for good ones."""
    rng, good, taken = random.Random(1), seeds(), 0
    for _ in range(count):
        with suppress(WireError):
            decode(mutated(rng, good))
            taken += 1
    return taken


def resident_bytes(pid: int | str) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096


def attack_server(server: Any, count: int) -> None:
    """Send mutated messages from one stranger, while a client that means well is served all the time."""
    rng, good = random.Random(2), seeds(SIZE)
    small = good[:2] + seeds()[2:]
    context = zmq.Context()
    with context.socket(zmq.DEALER) as stranger, Client(server.first) as client:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.setsockopt(zmq.RCVTIMEO, 10_000)
        stranger.connect(server.first)
        client.hello()
        pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
        before, sent, served = 0, 0, 0
        while sent < count:
            if sent >= count // 10 and not before:
                before = resident_bytes(server.process.pid)
            for _ in range(500):
                frame = mutated(rng, good if rng.random() < 0.05 else small)
                parts = [frame] if rng.random() < 0.95 else [frame, rng.randbytes(rng.randrange(9)), b""]
                stranger.send_multipart(parts)
                sent += 1
                while stranger.poll(0):
                    stranger.recv_multipart()
            now_ns = monotonic_ns()
            views = tuple(View.from_pixels(name, pixels, now_ns) for name in ("agentview", "wrist"))
            observation = Observation(client.next_sequence(), views, "lift")
            while not client.send(observation):
                time.sleep(0.001)
            deadline = time.monotonic() + 5
            chunks = 0
            while not chunks and time.monotonic() < deadline:
                chunks = sum(isinstance(message, ActionChunk) for message in client.receive(0.05))
            assert chunks, "the client that means well is wedged"
            served += 1
        # Messages of one stranger are taken in order: this answer says that all before it were.
        last = Observation(LAST, (View.from_pixels("nowhere", pixels, 1),), "lift", sent_ns=2)
        stranger.send(encode(last))
        while getattr(decode(stranger.recv()), "observation_sequence", None) != LAST:
            pass
        grown = resident_bytes(server.process.pid) - before
    context.term()
    assert server.process.poll() is None
    assert grown < 4e6, f"{grown / 1e6:.1f} MB more than after a tenth of the messages"
    assert served == -(-count // 500)


def test_mutated_messages_never_escape_the_decoder_as_another_error() -> None:
    assert 0 < attack_decoder(30_000) < 15_000


def test_a_server_under_mutated_messages_goes_on_serving(start: Callable[..., Any]) -> None:
    server = start("server", "tcp://127.0.0.1:*")
    attack_server(server, 10_000)
    counts = server.finish()
    assert counts["refused_checksum"] > 500
    assert counts["refused_malformed_message"] > 100
    assert counts["messages"] >= 10_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_mutated_messages_against_the_decoder() -> None:
    before = 0
    for part in range(10):
        attack_decoder(100_000)
        if part == 0:
            before = resident_bytes("self")
    assert resident_bytes("self") - before < 4e6


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_mutated_messages_against_a_server(start: Callable[..., Any]) -> None:
    server = start("server", "tcp://127.0.0.1:*")
    attack_server(server, 1_000_000)
    assert server.finish()["messages"] >= 1_000_000


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_half_an_hour_at_full_rate_takes_no_more_memory(
    start: Callable[..., Any], lasting: Callable[[float], None]
) -> None:
    server = start("server", "tcp://127.0.0.1:*")
    loops = [start("loop", server.first) for _ in range(2)]
    lasting(120)
    before = resident_bytes(server.process.pid)
    lasting(1800 - 120)
    grown = resident_bytes(server.process.pid) - before
    seen = [loop.finish() for loop in loops]
    assert grown < 2e6, f"{grown / 1e6:.1f} MB more after half an hour"
    for each in seen:
        assert not each["errors"]
        assert len(each["arrivals"]) > 1800 * 40
        assert max(age_ms for _, age_ms in each["executed"]) < 400
