import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import zmq

from st4vla.contracts.errors import PortInUseError
from st4vla.runtime.doors import router_door
from st4vla.runtime.doors.arrays import decode_npy, encode_npy
from st4vla.runtime.doors.dialect import Request
from st4vla.runtime.doors.gr00t import LANGUAGE_KEY, Gr00tDialect
from st4vla.runtime.doors.options import DoorOptions, Planning
from st4vla.runtime.doors.packing import Packing
from st4vla.runtime.doors.router_door import RouterDoor

PACKING = Packing(decode_npy, encode_npy)
Eventually = Callable[[Callable[[], bool]], None]
Connect = Callable[..., zmq.Socket[bytes]]


@pytest.fixture
def opened(core: Any) -> Iterator[Callable[..., RouterDoor]]:
    """Open a door with some options; all are closed in the end."""
    doors: list[RouterDoor] = []

    def start(**options: Any) -> RouterDoor:
        door = RouterDoor(Gr00tDialect(core, DoorOptions("gr00t")), core, DoorOptions("gr00t", **options))
        door.start()
        doors.append(door)
        return door

    yield start
    for door in doors:
        began = time.monotonic()
        door.stop()
        assert time.monotonic() - began < 5


@pytest.fixture
def door(opened: Callable[..., RouterDoor]) -> RouterDoor:
    return opened(connections=2, timeout_s=0.3, max_message_bytes=100_000)


@pytest.fixture
def connect(door: RouterDoor) -> Iterator[Connect]:
    context = zmq.Context()
    clients = []

    def open_socket(kind: int = zmq.REQ, **options: int) -> zmq.Socket[bytes]:
        client = context.socket(kind)
        client.setsockopt(zmq.RCVTIMEO, 5000)
        client.setsockopt(zmq.LINGER, 0)
        for name, value in options.items():
            client.setsockopt(getattr(zmq, name), value)
        client.connect(door.address)
        clients.append(client)
        return client

    yield open_socket
    for client in clients:
        client.close()
    context.term()


def request(instruction: str = "lift") -> bytes:
    pixels = np.zeros((1, 1, 8, 8, 3), np.uint8)
    observation = {"video.image": pixels, "video.wrist_image": pixels, LANGUAGE_KEY: [instruction]}
    return PACKING.pack({"endpoint": "get_action", "data": {"observation": observation, "options": None}})


def ask(client: zmq.Socket[bytes], instruction: str = "lift") -> Any:
    client.send(request(instruction))
    return PACKING.unpack(client.recv())


def test_a_client_gets_the_chunk_of_its_own_observation(connect: Connect, core: Any) -> None:
    client = connect()
    for seed in range(3):
        actions, _ = ask(client)
        expected = core.chunk_of(core.asked[-1][1])
        assert expected.seed == seed
        np.testing.assert_array_equal(actions["action.x"][0], expected.actions[:, :1])


@pytest.mark.parametrize("options", [{}, {"REQ_CORRELATE": 1, "REQ_RELAXED": 1}], ids=["plain", "numbered"])
def test_requests_are_answered_in_the_envelope_that_they_came_in(connect: Connect, options: dict[str, int]) -> None:
    client = connect(zmq.REQ, **options)
    for _ in range(2):
        client.send(PACKING.pack({"endpoint": "ping"}))
        assert PACKING.unpack(client.recv())["status"] == "ok"
    assert len(ask(client)) == 2


def test_a_dealer_may_leave_the_envelope_out(connect: Connect) -> None:
    client = connect(zmq.DEALER)
    client.send(request())
    (reply,) = client.recv_multipart()
    assert len(PACKING.unpack(reply)) == 2


def test_clients_have_their_own_seats(connect: Connect, core: Any) -> None:
    one, other = connect(), connect()
    ask(one, "a"), ask(other, "b"), ask(one, "a")
    seen = [(client, observation.instruction, observation.seed) for client, observation in core.asked]
    assert seen[0][0] == seen[2][0] != seen[1][0]
    assert [entry[1:] for entry in seen] == [("a", 0), ("b", 0), ("a", 1)]


def test_no_client_ends_the_server(connect: Connect) -> None:
    stranger, client = connect(), connect()
    stranger.send(PACKING.pack({"endpoint": "kill"}))
    assert "stop it where it was started" in PACKING.unpack(stranger.recv())["error"]
    assert len(ask(client)) == 2


@pytest.mark.parametrize(
    "parts",
    [
        [b"", b"one", b"two"],
        [b"", b""],
        [b""],
        [b"one", b"two"],
        [b"number", b"", b"one", b"two"],
        [b"a", b"b", b"c", b"d", b"e", b""],
        [b"", request(), request()],
        [b"\xc1"],
        [b"", b"\x91" * 5000],
        [b"", PACKING.pack([1])],
        [b"", PACKING.pack({"endpoint": "get_action", "data": 3})],
    ],
    ids=lambda parts: repr([part[:8] for part in parts]),
)
def test_messages_that_are_none_get_an_error_and_the_next_client_is_served(
    connect: Connect, parts: list[bytes]
) -> None:
    stranger = connect(zmq.DEALER)
    stranger.send_multipart(parts)
    reply = stranger.recv_multipart()
    assert "error" in PACKING.unpack(reply[-1])
    assert len(ask(connect())) == 2
    assert len(ask(connect())) == 2


def test_random_bytes_on_the_port_leave_the_next_client_unharmed(door: RouterDoor, connect: Connect) -> None:
    host, port = door.address.removeprefix("tcp://").split(":")
    rng = np.random.default_rng(0)
    for _ in range(24):
        with socket.create_connection((host, int(port)), timeout=5) as stream:
            stream.sendall(rng.bytes(rng.integers(1, 4000)))
        client = connect()
        client.send(PACKING.pack({"endpoint": "ping"}))
        assert PACKING.unpack(client.recv())["status"] == "ok"
        client.close()


def test_a_message_that_is_too_large_never_arrives(door: RouterDoor, connect: Connect) -> None:
    stranger = connect(zmq.DEALER)
    stranger.send(bytes(100_001))
    assert len(ask(connect())) == 2
    assert stranger.poll(200) == 0
    assert door.counts["messages"] == 1


def test_a_second_request_before_the_answer_is_refused(connect: Connect, core: Any) -> None:
    core.think_s = 0.2
    client = connect(zmq.DEALER)
    for _ in range(2):
        client.send_multipart([b"", request()])
    replies = [PACKING.unpack(client.recv_multipart()[-1]) for _ in range(2)]
    assert replies[0] == {"error": router_door.TOO_FAST}
    assert len(replies[1]) == 2
    assert len(core.asked) == 1


def test_a_client_that_never_reads_loses_its_answers_and_costs_the_others_nothing(
    door: RouterDoor, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    understood = door._dialect.read
    long_answer = Request(answer=bytes(1_000_000))
    monkeypatch.setattr(
        door._dialect, "read", lambda data, now_ns: long_answer if data == b"?" else understood(data, now_ns)
    )
    stranger, client = connect(zmq.DEALER, RCVHWM=1), connect()
    while not door.counts["replies_dropped"]:
        stranger.send_multipart([b"", b"?"])
        assert len(ask(client)) == 2
    assert door.counts["messages"] < 100


def test_no_answer_in_time_is_an_error_and_the_next_request_is_served(connect: Connect, core: Any) -> None:
    client = connect()
    assert "no action chunk within" in ask(client, "hang")["error"]
    assert len(ask(client)) == 2
    assert core.asked[0][0] != core.asked[1][0]


def test_an_engine_that_fails_is_an_error(connect: Connect) -> None:
    assert ask(connect(), "fail") == {"error": "the engine failed"}


def test_a_reset_begins_anew_and_a_plan_is_reused_until_then(opened: Callable[..., RouterDoor], core: Any) -> None:
    door, context = opened(plan=Planning.REUSE), zmq.Context()
    with context.socket(zmq.REQ) as client:
        client.setsockopt(zmq.RCVTIMEO, 5000)
        client.connect(door.address)
        ask(client), ask(client)
        assert core.left == []
        client.send(PACKING.pack({"endpoint": "reset", "data": {"options": None}}))
        assert PACKING.unpack(client.recv()) == {}
        ask(client)
    context.term()
    names = [client.decode().split(".", 1)[1] for client, _ in core.asked]
    assert names == ["0.0", "0.0", "0.1"]


def test_more_clients_than_places_are_refused_until_one_falls_silent(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, core: Any
) -> None:
    clients = [connect() for _ in range(3)]
    for client in clients[:2]:
        assert len(ask(client)) == 2
    assert "all 2 places" in ask(clients[2])["error"]
    monkeypatch.setattr(router_door, "IDLE_NS", 0)
    assert len(ask(clients[2])) == 2
    assert len(core.clients) == 2


def test_a_client_that_vanished_is_forgotten_when_its_answer_cannot_be_sent(
    connect: Connect, core: Any, eventually: Eventually
) -> None:
    core.think_s = 0.1
    client = connect()
    client.send(request())
    eventually(lambda: bool(core.clients))
    client.close()
    eventually(lambda: core.clients == set())


def test_stopping_while_a_request_is_in_work_does_not_wait_for_it(core: Any) -> None:
    options = DoorOptions("gr00t", timeout_s=60)
    door, context = RouterDoor(Gr00tDialect(core, options), core, options), zmq.Context()
    door.start()
    with context.socket(zmq.REQ) as client:
        client.setsockopt(zmq.LINGER, 0)
        client.connect(door.address)
        client.send(request("hang"))
        began = time.monotonic()
        door.stop()
        assert time.monotonic() - began < 5
    context.term()
    # What the core says afterwards finds nobody, and harms nobody.
    door.stop()


def test_a_port_in_use_is_named(door: RouterDoor, core: Any) -> None:
    port = int(door.address.rsplit(":", 1)[1])
    other = RouterDoor(door._dialect, core, DoorOptions("gr00t", port=port))
    with pytest.raises(PortInUseError, match=f"{port} is in use"):
        other.start()
    other.stop()


def test_a_dialect_that_breaks_costs_one_answer(
    door: RouterDoor, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect()
    with monkeypatch.context() as patch:
        patch.setattr(door._dialect, "read", lambda *_: 1 / 0)
        assert ask(client) == {"error": "a request that could not be read"}
    assert "ZeroDivisionError" in caplog.text
    assert len(ask(client)) == 2
