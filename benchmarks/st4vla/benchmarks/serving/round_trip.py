"""How long an answer takes from a policy that thinks nothing: ours against the bare socket and others' wires.

Ours is asked as an embedded controller on the same machine asks it, by the firmware bridge, and beside it over TCP, as
one on another machine would, by the firmware bridge and by the client in Python.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import zmq

from st4vla.benchmarks.serving import servers
from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import MissingExtraError, TransportError
from st4vla.contracts.messages import ActionChunk, ErrorReply, Observation, View
from st4vla.contracts.wire import encode
from st4vla.runtime.client import Client
from st4vla.runtime.native_library import BUILT

SIDE, NAMES, INSTRUCTION = 224, ("agentview", "wrist"), "pick up the red cube"
#: Questions in a row to one side, before the next one's turn.
ROUNDS = 20
WARM_UP = 50
#: Ours may take at most so many times as long as each.
BARS = {"raw echo": 1.5, "websocket": 0.4, "rep": 0.4}
#: Asks as a controller in C does.
BRIDGE = BUILT / "st4vla-bridge"
HEADER = ("server", "p50 ms", "p99 ms", "ours is times as long", "bar")


class Side(msgspec.Struct, frozen=True):
    """One server.

    Attributes:
        name: Which.
        times_ms: Of each answer.
    """

    name: str
    times_ms: tuple[float, ...]

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of its times."""
        return float(np.percentile(self.times_ms, percent))


class RoundTrips(msgspec.Struct, frozen=True):
    """What was measured; ``ours``, asked by the firmware bridge on the same machine, comes first."""

    sides: tuple[Side, ...]

    def ratio(self, name: str) -> float:
        """Return how many times as long as a side ours takes at the median."""
        times = {side.name: side.percentile_ms(50) for side in self.sides}
        return times["ours"] / times[name]

    def rows(self) -> list[tuple[object, ...]]:
        """Return a table's rows under `HEADER`."""
        return [
            (
                side.name,
                side.percentile_ms(50),
                side.percentile_ms(99),
                self.ratio(side.name),
                f"at most {BARS[side.name]:g}" if side.name in BARS else "",
            )
            for side in self.sides
        ]

    def missed(self) -> list[str]:
        """Return what falls short of its bar, in words."""
        return [
            f"round trip: {self.ratio(name):.2f} times as long as {name}, at most {bar:g} was wanted"
            for name, bar in BARS.items()
            if self.ratio(name) > bar
        ]


def measure(turns: int, seed: int = 0) -> RoundTrips:
    """Ask all servers in turns, each in a process of its own, with two raw views of 224 pixels.

    Args:
        turns: How many; each asks each server `ROUNDS` times.
        seed: Of the pictures.

    Raises:
        TransportError: A server gave no answer.
        MissingExtraError: The firmware bridge is not built.
    """
    pictures = np.random.default_rng(seed).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    with ExitStack() as stack:
        asks: dict[str, Callable[[int], list[float]]] = {
            "ours": _ask_by_bridge(stack, "--local", f"{stack.enter_context(TemporaryDirectory())}/socket"),
            "ours, over TCP": _ask_by_bridge(stack),
            "ours, over TCP, Python's client": partial(_timed, _ask_ours(stack, pictures)),
            "raw echo": partial(_timed, _ask_raw(stack, pictures)),
            "raw, short reply": partial(_timed, _ask_raw(stack, pictures, "--short")),
            "websocket": partial(_timed, _ask_websocket(stack, pictures)),
            "rep": partial(_timed, _ask_rep(stack, pictures)),
        }
        for ask in asks.values():
            ask(WARM_UP)
        times: dict[str, list[float]] = {name: [] for name in asks}
        for turn in range(turns):
            for name in list(asks)[:: -1 if turn % 2 else 1]:
                times[name] += asks[name](ROUNDS)
    return RoundTrips(tuple(Side(name, tuple(each)) for name, each in times.items()))


def _timed(ask: Callable[[], None], rounds: int) -> list[float]:
    """Return how long each of some questions took, ms."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1e3)
    return times


def _ask_by_bridge(stack: ExitStack, *arguments: str) -> Callable[[int], list[float]]:
    if not BRIDGE.exists():
        msg = f"{BRIDGE} is not built; build it with: make ctest"
        raise MissingExtraError(msg)
    endpoint = stack.enter_context(servers.serving("ours", *arguments))

    def ask(rounds: int) -> list[float]:
        command = [str(BRIDGE), "ping", "--endpoint", endpoint, "--count", str(rounds), "--times"]
        answered = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if answered.returncode:
            raise TransportError(answered.stderr.strip())
        times: list[float] = msgspec.json.decode(answered.stdout.splitlines()[-1])["times_ms"]
        return times

    return ask


def _observation(pictures: np.ndarray, sequence: int) -> Observation:
    now_ns = monotonic_ns()
    views = tuple(View.from_pixels(name, picture, now_ns) for name, picture in zip(NAMES, pictures, strict=True))
    return Observation(sequence, views, INSTRUCTION)


def _ask_ours(stack: ExitStack, pictures: np.ndarray) -> Callable[[], None]:
    client = stack.enter_context(Client(stack.enter_context(servers.serving("ours"))))
    client.hello()

    def ask() -> None:
        observation = _observation(pictures, client.next_sequence())
        while not client.send(observation):
            # The socket may be full for a moment after the message before.
            time.sleep(1e-5)
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            for message in client.receive(1.0):
                if isinstance(message, ErrorReply):
                    raise TransportError(message.message)
                if isinstance(message, ActionChunk) and message.observation_sequence == observation.sequence:
                    return
        raise TransportError("our server gave no answer within 5 s")

    return ask


def _ask_raw(stack: ExitStack, pictures: np.ndarray, *arguments: str) -> Callable[[], None]:
    socket = _dealer(stack, zmq.DEALER, stack.enter_context(servers.serving("raw", *arguments)))
    question = bytes(encode(_observation(pictures, 1)))

    def ask() -> None:
        socket.send(question)
        socket.recv()

    return ask


def _ask_websocket(stack: ExitStack, pictures: np.ndarray) -> Callable[[], None]:
    from websockets.sync.client import connect  # noqa: PLC0415 - an extra

    address = stack.enter_context(servers.serving("websocket"))
    connection = stack.enter_context(connect(address, compression=None, max_size=None))
    connection.recv()

    def ask() -> None:
        question = {f"observation/{name}": picture for name, picture in zip(NAMES, pictures, strict=True)}
        connection.send(servers.packed(question | {"prompt": INSTRUCTION}))
        answer = connection.recv()
        servers.unpacked(answer if isinstance(answer, bytes) else answer.encode())

    return ask


def _ask_rep(stack: ExitStack, pictures: np.ndarray) -> Callable[[], None]:
    socket = _dealer(stack, zmq.REQ, stack.enter_context(servers.serving("rep")))

    def ask() -> None:
        data = {f"video.{name}": picture[None] for name, picture in zip(NAMES, pictures, strict=True)}
        question = {"endpoint": "get_action", "data": data | {"annotation.human.task": [INSTRUCTION]}}
        socket.send(servers.packed_files(question))
        servers.unpacked_files(socket.recv())

    return ask


def _dealer(stack: ExitStack, kind: int, address: str) -> zmq.Socket[bytes]:
    context = stack.enter_context(zmq.Context())
    socket = stack.enter_context(context.socket(kind))
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, 5000)
    socket.connect(address)
    return socket
