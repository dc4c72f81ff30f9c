import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from st4vla.contracts.errors import MissingExtraError, PortInUseError
from st4vla.runtime.doors import conversation, websocket_door
from st4vla.runtime.doors.arrays import decode_tagged, encode_tagged
from st4vla.runtime.doors.dialect import Request
from st4vla.runtime.doors.openpi import OpenpiDialect
from st4vla.runtime.doors.options import DoorOptions, Planning
from st4vla.runtime.doors.packing import Packing
from st4vla.runtime.doors.starvla import StarvlaDialect
from st4vla.runtime.doors.websocket_door import WebsocketDoor, require_websockets

PACKING = Packing(decode_tagged, encode_tagged)
Eventually = Callable[[Callable[[], bool]], None]


@pytest.fixture
def opened(core: Any) -> Iterator[Callable[..., WebsocketDoor]]:
    """Open a door with some options; all are closed in the end."""
    doors: list[WebsocketDoor] = []

    def start(**options: Any) -> WebsocketDoor:
        door = WebsocketDoor(OpenpiDialect(core, DoorOptions("openpi")), core, DoorOptions("openpi", **options))
        door.start()
        doors.append(door)
        return door

    yield start
    for door in doors:
        began = time.monotonic()
        door.stop()
        assert time.monotonic() - began < 9
        with socket.socket() as probe:
            assert probe.connect_ex(_where(door)) != 0


@pytest.fixture
def door(opened: Callable[..., WebsocketDoor]) -> WebsocketDoor:
    return opened(connections=3, timeout_s=0.3, max_message_bytes=100_000)


def _where(door: WebsocketDoor) -> tuple[str, int]:
    host, port = door.address.removeprefix("ws://").rsplit(":", 1)
    return host, int(port)


@contextmanager
def join(door: WebsocketDoor) -> Iterator[ClientConnection]:
    """Connect, and hear the greeting out."""
    with connect(door.address, compression=None) as client:
        assert PACKING.unpack(client.recv(5))["server"] == "st4vla"  # type: ignore[arg-type]
        yield client


def request(instruction: str = "lift", **more: object) -> bytes:
    pixels = np.zeros((8, 8, 3), np.uint8)
    views = {"observation/image": pixels, "observation/wrist_image": pixels}
    return PACKING.pack(views | {"prompt": instruction} | more)


def ask(client: ClientConnection, instruction: str = "lift") -> Any:
    client.send(request(instruction))
    answer = client.recv(5)
    return answer if isinstance(answer, str) else PACKING.unpack(answer)


def raw(door: WebsocketDoor) -> socket.socket:
    """Return a connection that has shaken hands and does nothing else by itself."""
    stream = socket.create_connection(_where(door), timeout=5)
    stream.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b"101" in stream.recv(100)
    return stream


def frame(data: bytes, opcode: int = 2, *, last: bool = True) -> bytes:
    """Return a frame of a client, masked with zeros."""
    head = bytes([opcode | (0x80 if last else 0)])
    return head + bytes([0x80 | 126]) + len(data).to_bytes(2, "big") + bytes(4) + data


def is_dropped(stream: socket.socket) -> bool:
    stream.settimeout(8)
    try:
        while stream.recv(65536):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def test_a_client_is_greeted_and_gets_the_chunk_of_its_own_observation(door: WebsocketDoor, core: Any) -> None:
    with join(door) as client:
        for seed in range(3):
            answer = ask(client)
            expected = core.chunk_of(core.asked[-1][1])
            assert expected.seed == seed
            np.testing.assert_array_equal(answer["actions"][:, :6], expected.actions[:, :6])
            assert answer["server_timing"]["infer_ms"] > 0


def test_clients_have_their_own_seats(door: WebsocketDoor, core: Any, eventually: Eventually) -> None:
    with join(door) as one, join(door) as other:
        ask(one, "a"), ask(other, "b"), ask(one, "a")
        seen = [(client, observation.instruction, observation.seed) for client, observation in core.asked]
        assert seen[0][0] == seen[2][0] != seen[1][0]
        assert [entry[1:] for entry in seen] == [("a", 0), ("b", 0), ("a", 1)]
    eventually(lambda: core.clients == set())


def test_a_request_that_does_not_fit_and_one_that_fails_leave_the_connection_open(door: WebsocketDoor) -> None:
    with join(door) as client:
        client.send(PACKING.pack({"prompt": "lift"}))
        answer = client.recv(5)
        assert isinstance(answer, str)
        assert answer.startswith("no picture for the view 'agentview'")
        assert ask(client, "fail") == "the engine failed"
        assert "actions" in ask(client)


def test_no_answer_in_time_is_an_error_and_the_next_request_is_served(door: WebsocketDoor, core: Any) -> None:
    with join(door) as client:
        assert "no action chunk within" in ask(client, "hang")
        assert "actions" in ask(client)
    # The seat of the request that hung was given up, so that a late chunk finds nobody.
    assert core.asked[0][0] != core.asked[1][0]


@pytest.mark.parametrize("planning", list(Planning))
def test_a_plan_is_fresh_or_reused_as_asked(
    opened: Callable[..., WebsocketDoor], core: Any, planning: Planning
) -> None:
    with join(opened(plan=planning)) as client:
        ask(client), ask(client)
        assert len(core.left) == (1 if planning is Planning.FRESH else 0)


def test_a_reset_begins_anew(core: Any) -> None:
    options = DoorOptions("starvla", plan=Planning.REUSE)
    door = WebsocketDoor(StarvlaDialect(core, options), core, options)
    door.start()
    try:
        with connect(door.address, compression=None) as client:
            client.recv(5)
            pixels = np.zeros((8, 8, 3), np.uint8)
            infer = {"examples": [{"image": [pixels, pixels], "lang": "lift"}] * 2}
            for message in (infer, {"type": "reset"}, infer):
                client.send(PACKING.pack(message))
                assert PACKING.unpack(client.recv(5))["ok"]  # type: ignore[arg-type]
        names = [client.decode().split(".", 1)[1] for client, _ in core.asked]
        assert names == ["0.0", "1.0", "0.1", "1.1"]
    finally:
        door.stop()


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1\xff\x00random", b"\x91" * 5000, PACKING.pack([1, 2]), "a text", "\0" * 100],
    ids=lambda data: repr(data[:9]),
)
def test_random_bytes_get_a_sentence_and_the_connection_ends(door: WebsocketDoor, data: bytes | str) -> None:
    with join(door) as other:
        with join(door) as client:
            client.send(data)
            answer = client.recv(5)
            assert isinstance(answer, str)
            assert "Traceback" not in answer
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code in {1003, 1007}
        assert "actions" in ask(other)


def test_a_message_in_two_parts_is_one_message(door: WebsocketDoor) -> None:
    with join(door) as client:
        data = request()
        client.send([data[:100], data[100:]])
        assert isinstance(client.recv(5), bytes)


def test_a_message_that_is_too_large_ends_the_connection(door: WebsocketDoor) -> None:
    with join(door) as other:
        with join(door) as client:
            client.send(bytes(100_001))
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert "actions" in ask(other)


def test_a_client_that_sends_faster_than_it_is_answered_is_told_and_dropped(door: WebsocketDoor, core: Any) -> None:
    core.think_s = 0.2
    with join(door) as client:
        client.send(request())
        client.send(request())
        assert client.recv(5) == conversation.TOO_FAST
        with pytest.raises(ConnectionClosed):
            client.recv(5)
    with join(door) as client:
        assert "actions" in ask(client)


def test_a_client_that_never_reads_is_cut_off_and_costs_the_others_nothing(
    door: WebsocketDoor, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(conversation, "SEND_S", 0.3)
    understood = door._dialect.read
    long_answer = Request(answer=bytes(1_000_000))
    monkeypatch.setattr(
        door._dialect, "read", lambda data, now_ns: long_answer if data == b"?" else understood(data, now_ns)
    )
    with raw(door) as stream, join(door) as other:
        stream.sendall(frame(b"?") * 20)
        while not door.counts["clients_cut_off"]:
            assert "actions" in ask(other)
        eventually(lambda: door._open == 1)


def test_bytes_that_are_no_handshake_are_dropped(
    opened: Callable[..., WebsocketDoor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_door, "HANDSHAKE_S", 0.2)
    door = opened()
    for data in (
        b"\x00\x01\x02" * 50,
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /kill HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n" * 99,
    ):
        with socket.create_connection(_where(door), timeout=5) as stream:
            stream.sendall(data)
            assert is_dropped(stream)
    with join(door) as client:
        assert "actions" in ask(client)


def test_bytes_that_are_no_frame_are_dropped(door: WebsocketDoor) -> None:
    unmasked = b"\x82\x05hello"
    for data in (
        unmasked,
        b"\xff" * 100,
        frame(b"x", opcode=0),
        frame(b"x", opcode=11),
        frame(b"x", 2, last=False) * 2,
    ):
        with raw(door) as stream:
            stream.sendall(data)
            assert is_dropped(stream)
    with join(door) as client:
        assert "actions" in ask(client)


def test_a_client_that_vanishes_gives_its_place_back(door: WebsocketDoor, core: Any, eventually: Eventually) -> None:
    core.think_s = 0.1
    stream = raw(door)
    stream.sendall(frame(request()))
    eventually(lambda: bool(core.clients))
    stream.close()
    eventually(lambda: core.clients == set())
    with join(door) as client:
        assert "actions" in ask(client)


def test_more_clients_than_places_are_turned_away(door: WebsocketDoor, eventually: Eventually) -> None:
    with join(door), join(door):
        with join(door):
            with pytest.raises(InvalidStatus) as refused, connect(door.address):
                pass
            assert refused.value.response.status_code == 503
        eventually(lambda: door._open == 2)
        with join(door) as client:
            assert "actions" in ask(client)


def test_connections_that_never_shake_hands_are_bounded(door: WebsocketDoor, eventually: Eventually) -> None:
    streams = [socket.create_connection(_where(door), timeout=5) for _ in range(30)]
    eventually(lambda: door.counts["sockets_refused"] >= 30 - 2 * 3 - 8)
    for stream in streams:
        stream.close()
    eventually(lambda: door._sockets == 0)
    with join(door) as client:
        assert "actions" in ask(client)


def test_a_page_in_a_browser_is_turned_away(door: WebsocketDoor) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(door.address, origin="https://example.org"):  # type: ignore[arg-type]
        pass
    assert refused.value.response.status_code == 403


def test_health_is_told_over_http(door: WebsocketDoor) -> None:
    with socket.create_connection(_where(door), timeout=5) as stream:
        stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stream.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_stopping_while_a_request_is_in_work_does_not_wait_for_it(core: Any) -> None:
    options = DoorOptions("openpi", timeout_s=60)
    door = WebsocketDoor(OpenpiDialect(core, options), core, options)
    door.start()
    with join(door) as client:
        client.send(request("hang"))
        began = time.monotonic()
        door.stop()
        assert time.monotonic() - began < 5
        with pytest.raises(ConnectionClosed):
            client.recv(5)
    door.stop()


def test_a_port_in_use_is_named(door: WebsocketDoor, core: Any) -> None:
    host, port = _where(door)
    with pytest.raises(PortInUseError, match=f"{host}:{port} is in use"):
        WebsocketDoor(door._dialect, core, DoorOptions("openpi", host, port)).start()


def test_a_dialect_that_breaks_costs_one_connection(
    door: WebsocketDoor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with join(door) as client, monkeypatch.context() as patch:
        patch.setattr(door._dialect, "read", lambda *_: 1 / 0)
        client.send(request())
        assert client.recv(5) == "a request that could not be read"
    assert "ZeroDivisionError" in caplog.text
    with join(door) as client:
        assert "actions" in ask(client)


def test_without_websockets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.asyncio.server", None)
    with pytest.raises(MissingExtraError, match=r"st4vla\[doors\]"):
        require_websockets()
