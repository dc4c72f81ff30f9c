"""Keys that are taken away or come later, and a gate that is slow, fails or has stopped."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zmq

from st4vla.contracts.clock import NS_PER_MS, monotonic_ns
from st4vla.contracts.errors import TransportError
from st4vla.contracts.messages import ActionChunk, Observation, Plan, View
from st4vla.runtime import gate as gate_module
from st4vla.runtime.allow_list import AllowList
from st4vla.runtime.client import Client
from st4vla.runtime.connections import Connection
from st4vla.runtime.core import Core
from st4vla.runtime.curve import ClientKeys, ServerKeys
from st4vla.runtime.gate import CurveGate, open_gate
from st4vla.runtime.handshakes import Handshakes
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.server import Server

SIZE = 28


class Keyring:
    """What the fixture of `conftest.py` offers."""

    server: Path
    client: Callable[..., ClientKeys]
    allow: Callable[[str, ClientKeys], None]
    listed: Callable[[str], Path]


class Stuck(AllowList):
    """A list on a disk that may be told to hang or to fail."""

    def __init__(self, *places: Path) -> None:
        self.free, self.waiting, self.failing = threading.Event(), threading.Event(), False
        self.free.set()
        super().__init__(*places)

    def refresh(self) -> bool:
        if not self.free.is_set():
            self.waiting.set()
        self.free.wait()
        if self.failing:
            raise OSError(5, "Input/output error")
        return super().refresh()


class Ends(Handshakes):
    """Tells whether a client's connection has ended, in the place of what tells how it began."""

    def __init__(self, client: Client) -> None:
        client._greeting.close()
        super().__init__(client._socket, zmq.EVENT_DISCONNECTED)
        self._come = False
        client._greeting = self  # type: ignore[assignment]

    def come(self) -> bool:
        self.update()
        return self._come

    def update(self) -> None:
        self._come = bool(list(self.read())) or self._come

    def close(self) -> None:
        self.stop()
        super().close()


class Door:
    """A bare socket behind a gate."""

    def __init__(self, keys: ServerKeys) -> None:
        self.counts: Counter[str] = Counter()
        self.context = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.LINGER, 0)
        self.gate = open_gate(keys, self.router, lambda name: self.counts.update([name]))
        self.router.bind("tcp://127.0.0.1:*")
        self.endpoint = self.router.getsockopt_string(zmq.LAST_ENDPOINT)

    def receive(self, timeout_s: float = 2.0) -> zmq.Frame | None:
        """Return the address of the next message, let in or not."""
        if not self.router.poll(round(timeout_s * 1000)):
            return None
        address: zmq.Frame = self.router.recv_multipart(copy=False)[0]
        return address

    def close(self) -> None:
        self.gate.close()
        self.router.close()
        self.context.destroy(linger=0)


@contextmanager
def opened(keys: ServerKeys) -> Iterator[Door]:
    door = Door(keys)
    try:
        yield door
    finally:
        door.close()


@contextmanager
def serving(keys: ServerKeys, plan_s: float = 0.0) -> Iterator[Server]:
    server = Server(Core(NullPolicy(image_size=SIZE, plan_s=plan_s)), "tcp://127.0.0.1:*", keys)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "REFRESH_NS", 50 * NS_PER_MS)


@pytest.fixture
def stuck(keyring: Keyring) -> Iterator[Stuck]:
    clients = Stuck(keyring.server / "clients")
    yield clients
    clients.free.set()


def observation(client: Client, **fields: object) -> Observation:
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    views = tuple(View.from_pixels(name, pixels, monotonic_ns()) for name in ("agentview", "wrist"))
    return Observation(client.next_sequence(), views, "lift", **fields)  # type: ignore[arg-type]


def chunk_comes(client: Client, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        client.send(observation(client))
        if any(isinstance(message, ActionChunk) for message in client.receive(0.02)):
            return True
    return False


def take_what_came(client: Client) -> None:
    """Read what was on its way to a client before it was cut off."""
    while list(client.receive(0.05)):
        pass


def await_true(condition: Callable[[], bool], timeout_s: float = 5.0) -> float:
    """Return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s
        time.sleep(0.01)
    return time.monotonic() - began


def test_a_key_that_is_taken_away_ends_its_connections_and_no_other(keyring: Keyring) -> None:
    robot, other = keyring.client("robot"), keyring.client("other")
    with serving(ServerKeys.load(keyring.server)) as server, Client(server.endpoint, other) as kept:
        assert chunk_comes(kept, 2)
        with Client(server.endpoint, robot) as talking, Client(server.endpoint, robot) as quiet:
            assert chunk_comes(talking, 2)
            assert chunk_comes(quiet, 2)
            ends = [Ends(client) for client in (talking, quiet, kept)]
            keyring.listed("robot").unlink()
            await_true(lambda: ends[0].come() and ends[1].come())
            assert server.core.counts["clients_revoked"] == 2
            take_what_came(talking)
            observations = server.core.counts["observations"]
            assert not chunk_comes(talking, 0.3)
            assert server.core.counts["observations"] == observations
            assert len(server.core.scheduler._sessions) == 1
            assert chunk_comes(kept, 2)
            assert not ends[2].come()


def test_a_key_that_is_allowed_later_needs_neither_a_new_server_nor_a_new_client(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("st4vla.runtime.curve.HANDSHAKE_MS", 400)
    robot = keyring.client("robot", allowed=False)
    with serving(ServerKeys.load(keyring.server)) as server, Client(server.endpoint, robot) as client:
        assert not chunk_comes(client, 0.3)
        keyring.allow("robot", robot)
        assert chunk_comes(client, 3)
        keyring.listed("robot").unlink()
        await_true(lambda: server.core.counts["clients_revoked"] == 1)
        take_what_came(client)
        assert not chunk_comes(client, 0.2)
        keyring.allow("robot", robot)
        assert chunk_comes(client, 3)


def test_a_plan_that_is_ready_after_its_client_was_revoked_is_not_sent(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The connection stays, so that nothing but the gate is in the way.
    monkeypatch.setattr(Connection, "cut", lambda self: False)
    robot = keyring.client("robot")
    with serving(ServerKeys.load(keyring.server), plan_s=0.8) as server, Client(server.endpoint, robot) as client:
        client.hello()
        client.send(observation(client, wants_plans=True))
        await_true(lambda: server.core.counts["observations"] == 1)
        keyring.listed("robot").unlink()
        await_true(lambda: server.core.counts["plans"] == 1)
        assert not [message for message in client.receive(0.2) if isinstance(message, Plan | ActionChunk)]


def test_a_message_that_was_on_its_way_when_its_key_was_revoked_is_not_read_nor_answered(keyring: Keyring) -> None:
    robot = keyring.client("robot")
    keys = ServerKeys.load(keyring.server)
    with opened(keys) as door, Client(door.endpoint, robot) as client:
        client.greet()
        first = door.receive()
        assert first is not None
        assert door.gate.lets_in(first)
        assert door.gate.may_answer(first.bytes)
        client.greet()
        assert door.router.poll(2000)
        keyring.listed("robot").unlink()
        await_true(lambda: not keys.clients.allowed)
        assert not door.gate.may_answer(first.bytes)
        second = door.receive()
        assert second is not None
        assert second.bytes == first.bytes
        assert not door.gate.lets_in(second)
        assert door.counts["messages_refused"] == 1
        assert door.gate.evicted() == [first.bytes]
        assert door.gate.evicted() == []


def test_who_was_never_let_in_is_not_answered(keyring: Keyring) -> None:
    with opened(ServerKeys.load(keyring.server)) as door:
        assert not door.gate.may_answer(b"\0made")


def test_a_message_of_nobody_is_refused(keyring: Keyring) -> None:
    # Not one that came through CURVE: nothing is attached to it.
    with opened(ServerKeys.load(keyring.server)) as door:
        assert not door.gate.lets_in(zmq.Frame(b"\0made"))
        assert door.counts["messages_refused"] == 1


def test_of_too_many_clients_the_quietest_is_forgotten(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MAX_PEERS", 1)
    robot = keyring.client("robot")
    addresses = []
    with (
        opened(ServerKeys.load(keyring.server)) as door,
        Client(door.endpoint, robot) as one,
        Client(door.endpoint, robot) as two,
    ):
        for client in (one, two):
            client.greet()
            address = door.receive()
            assert address is not None
            assert door.gate.lets_in(address)
            addresses.append(address.bytes)
        assert [door.gate.may_answer(address) for address in addresses] == [False, True]


def test_who_takes_the_address_of_another_does_not_take_its_place(keyring: Keyring) -> None:
    robot, other = keyring.client("robot"), keyring.client("other")
    with opened(ServerKeys.load(keyring.server)) as door, zmq.Context() as context:
        door.router.setsockopt(zmq.ROUTER_HANDOVER, 1)
        for keys, let_in in ((robot, [True, True]), (other, [False, True])):
            with context.socket(zmq.DEALER) as client:
                client.setsockopt(zmq.LINGER, 0)
                client.setsockopt(zmq.ROUTING_ID, b"mine")
                keys.secure(client)
                client.connect(door.endpoint)
                for expected in let_in:
                    client.send(b"")
                    address = door.receive()
                    assert address is not None
                    assert address.bytes == b"mine"
                    assert door.gate.lets_in(address) is expected
                    assert door.gate.may_answer(b"mine") is expected
                    assert door.gate.evicted() == ([] if expected else [b"mine"])


def test_a_client_that_came_back_is_cut_off_as_well(keyring: Keyring) -> None:
    robot = keyring.client("robot")
    with serving(ServerKeys.load(keyring.server)) as server, Client(server.endpoint, robot) as client:
        for _ in range(2):
            assert chunk_comes(client, 2)
            client._socket.disconnect(server.endpoint)
            client._socket.connect(server.endpoint)
        assert chunk_comes(client, 2)
        end = Ends(client)
        keyring.listed("robot").unlink()
        await_true(end.come)


def test_nobody_is_let_in_when_the_gate_has_stopped(keyring: Keyring) -> None:
    robot = keyring.client("robot")
    with opened(ServerKeys.load(keyring.server)) as door:
        with Client(door.endpoint, robot) as client:
            client.greet()
            assert door.receive() is not None
        while door.receive(0.1) is not None:
            pass
        door.gate.close()
        with Client(door.endpoint, robot) as client:
            client.greet()
            assert door.receive(0.5) is None


def test_nobody_is_let_in_while_the_gate_is_slow(keyring: Keyring, stuck: Stuck) -> None:
    robot = keyring.client("robot")
    with opened(ServerKeys(ServerKeys.load(keyring.server).own, stuck)) as door:
        await_true(lambda: robot.own.public in stuck.allowed)
        stuck.free.clear()
        assert stuck.waiting.wait(2)
        with Client(door.endpoint, robot) as client:
            client.greet()
            assert door.receive(0.5) is None
            stuck.free.set()
            assert door.receive() is not None


def test_a_list_that_cannot_be_looked_at_ends_all_service_until_it_can(
    keyring: Keyring, stuck: Stuck, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("st4vla.runtime.curve.HANDSHAKE_MS", 400)
    robot = keyring.client("robot")
    stuck._stale_ns = 600 * NS_PER_MS
    keys = ServerKeys(ServerKeys.load(keyring.server).own, stuck)
    with serving(keys) as server, Client(server.endpoint, robot) as client:
        assert chunk_comes(client, 2)
        stuck.failing = True
        await_true(lambda: server.core.counts["clients_revoked"] == 1)
        take_what_came(client)
        assert not chunk_comes(client, 0.6)
        assert caplog.text.count("the list of clients cannot be looked at") == 1
        stuck.failing = False
        assert chunk_comes(client, 3)


def test_stopping_does_not_wait_for_a_disk_that_hangs(
    keyring: Keyring, stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "STOP_S", 0.2)
    with serving(ServerKeys(ServerKeys.load(keyring.server).own, stuck)) as server:
        stuck.free.clear()
        assert stuck.waiting.wait(2)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 2
        stuck.free.set()
    await_true(lambda: not [thread for thread in threading.enumerate() if thread.name == "st4vla_gate"])


def test_one_zeromq_context_has_one_gate(keyring: Keyring) -> None:
    keys = ServerKeys.load(keyring.server)
    with (
        opened(keys) as door,
        door.context.socket(zmq.ROUTER) as second,
        pytest.raises(TransportError, match="has a gate already"),
    ):
        CurveGate(keys, second, lambda name: None)
