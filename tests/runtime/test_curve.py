"""What a server with keys gives to those it knows, and to nobody else."""

import logging
import random
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import zmq

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import KeyFileError, ServerUnreachableError
from st4vla.contracts.messages import ActionChunk, Hello, Message, Observation, View
from st4vla.contracts.wire import encode
from st4vla.runtime.client import Client
from st4vla.runtime.core import Core
from st4vla.runtime.curve import ClientKeys, ServerKeys
from st4vla.runtime.key_files import KeyPair, make_pair, write_pair
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.server import Server

SIZE = 28
#: A greeting of ZMTP 3 and the command WELCOME (rfc.zeromq.org/spec/23 and 26): all that a server says before it has
#: seen who asks. An answer of the application would come after READY.
GREETING_BYTES, WELCOME_BYTES = 64, 2 + 168


class Keyring:
    """What the fixture of `conftest.py` offers."""

    server: Path
    homes: Path
    client: Callable[..., ClientKeys]
    allow: Callable[[str, ClientKeys], None]
    listed: Callable[[str], Path]


@dataclass
class Link:
    """One connection that a relay carried: what either side said."""

    asked: list[bytes] = field(default_factory=list)
    answered: bytearray = field(default_factory=bytearray)


class Relay:
    """Carries connections to a server, keeps a copy of all bytes, and ends when the test does."""

    def __init__(self, endpoint: str) -> None:
        self.links: list[Link] = []
        self._target = ("127.0.0.1", int(endpoint.rsplit(":", 1)[1]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            if select.select([self._listener], [], [], 0.05)[0]:
                near, _ = self._listener.accept()
                self.links.append(link := Link())
                self._threads.append(threading.Thread(target=self._carry, args=(near, link)))
                self._threads[-1].start()

    def _carry(self, near: socket.socket, link: Link) -> None:
        with near, socket.create_connection(self._target) as far, suppress(OSError):
            kept = {near: (far, link.asked.append), far: (near, link.answered.extend)}
            while not self._ended.is_set():
                for source in select.select(list(kept), [], [], 0.05)[0]:
                    target, keep = kept[source]
                    if not (data := source.recv(1 << 16)):
                        return
                    keep(data)
                    target.sendall(data)

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()


@contextmanager
def relayed(server: Server) -> Iterator[Relay]:
    relay = Relay(server.endpoint)
    try:
        yield relay
    finally:
        relay.close()


@pytest.fixture
def robot(keyring: Keyring) -> ClientKeys:
    return keyring.client("robot")


@contextmanager
def serving(keys: ServerKeys | None, endpoint: str = "tcp://127.0.0.1:*") -> Iterator[Server]:
    running = Server(Core(NullPolicy(image_size=SIZE)), endpoint, keys)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def server(keyring: Keyring, robot: ClientKeys) -> Iterator[Server]:
    with serving(ServerKeys.load(keyring.server)) as running:
        yield running


def observation(client: Client) -> Observation:
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    views = tuple(View.from_pixels(name, pixels, monotonic_ns()) for name in ("agentview", "wrist"))
    return Observation(client.next_sequence(), views, "lift")


def await_chunk(client: Client, timeout_s: float = 5.0) -> Message:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        client.send(observation(client))
        for message in client.receive(0.05):
            if isinstance(message, ActionChunk):
                return message
    pytest.fail("no chunk came")


def await_count(server: Server, name: str, least: int, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while server.core.counts[name] < least:
        assert time.monotonic() < deadline, f"{name} stayed at {server.core.counts[name]}"
        time.sleep(0.01)


def read_all(stream: socket.socket, timeout_s: float = 2.0) -> bytes:
    """Return what comes until the other side ends the connection, or nothing comes for a while."""
    stream.settimeout(timeout_s)
    answer = b""
    with suppress(OSError):
        while data := stream.recv(1 << 16):
            answer += data
    return answer


def test_clients_whose_keys_are_allowed_are_served(server: Server, keyring: Keyring, robot: ClientKeys) -> None:
    with Client(server.endpoint, robot) as client, Client(server.endpoint, robot) as twin:
        assert client.hello().action_dim == 7
        await_chunk(client)
        await_chunk(twin)
    assert server.core.counts["messages_refused"] == server.core.counts["handshakes_refused"] == 0


def test_what_an_allowed_client_says_cannot_be_read_on_the_way(server: Server, robot: ClientKeys) -> None:
    with relayed(server) as relay, Client(relay.endpoint, robot) as client:
        await_chunk(client)
    (link,) = relay.links
    asked = b"".join(link.asked)
    assert len(asked) > 2 * SIZE * SIZE * 3
    assert len(link.answered) > GREETING_BYTES + WELCOME_BYTES
    for said in (asked, link.answered):
        assert b"ST4V" not in said
        assert b"agentview" not in said


STRANGERS: dict[str, tuple[Callable[[Keyring, ClientKeys], ClientKeys | None], int, str]] = {
    "no key": (lambda *_: None, GREETING_BYTES, "as a server that wants keys does: give --key and --server-key"),
    "a key that is not on the list": (
        lambda keyring, _: keyring.client("stranger", allowed=False),
        GREETING_BYTES + WELCOME_BYTES,
        "let its key in (SHA256:",
    ),
    "an allowed public key with a secret key of its own": (
        lambda _, robot: replace(robot, own=KeyPair(robot.own.public, make_pair().secret)),
        GREETING_BYTES + WELCOME_BYTES,
        "what listens there does not talk to this client",
    ),
    "an allowed key, and the key of another server": (
        lambda _, robot: replace(robot, server_public=make_pair().public),
        GREETING_BYTES,
        "has the key of --server-key (SHA256:",
    ),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_stranger_gets_nothing_and_is_counted(server: Server, keyring: Keyring, robot: ClientKeys, kind: str) -> None:
    make, most_bytes, match = STRANGERS[kind]
    with relayed(server) as relay:
        with (
            Client(relay.endpoint, make(keyring, robot)) as stranger,
            pytest.raises(ServerUnreachableError, match=re.escape(match)),
        ):
            stranger.hello(1.0)
        await_count(server, "handshakes_refused", 1)
    assert server.core.counts["messages"] == server.core.counts["messages_refused"] == 0
    assert relay.links
    assert max(len(link.answered) for link in relay.links) <= most_bytes
    with Client(server.endpoint, robot) as client:
        await_chunk(client)


def test_a_replayed_session_gets_nothing(server: Server, robot: ClientKeys) -> None:
    with relayed(server) as relay:
        with Client(relay.endpoint, robot) as client:
            await_chunk(client)
        await_count(server, "messages", 2)
    (link,) = relay.links
    before = dict(server.core.counts)
    assert before["observations"] >= 1
    assert len(link.asked) > 3
    # All at once, and in the client's own pieces, after what the server says to each.
    for attempt, pieces in enumerate(([b"".join(link.asked)], link.asked), 1):
        answer = b""
        with socket.create_connection(relay._target) as stream, suppress(OSError):
            for piece in pieces:
                stream.sendall(piece)
                answer += read_all(stream, 0.1)
        assert len(answer) <= GREETING_BYTES + WELCOME_BYTES
        await_count(server, "handshakes_refused", attempt)
    # The second one came as far as the server's side of a handshake.
    assert len(answer) == GREETING_BYTES + WELCOME_BYTES
    after = dict(server.core.counts)
    assert after.pop("handshakes_refused") == 2
    assert after == before


def test_altered_sessions_get_nothing_and_cost_an_allowed_client_nothing(server: Server, robot: ClientKeys) -> None:
    rng = random.Random(0)
    with relayed(server) as relay:
        with Client(relay.endpoint, robot) as client:
            await_chunk(client)
        await_count(server, "messages", 2)
    pieces = [piece[:4096] for piece in relay.links[0].asked]
    messages = server.core.counts["messages"]
    for _ in range(200):
        altered = [bytearray(piece) for piece in pieces[: rng.randint(1, len(pieces))]]
        for piece in rng.sample(altered, rng.randint(1, min(3, len(altered)))):
            piece[rng.randrange(min(len(piece), 250))] ^= 1 << rng.randrange(8)
        with suppress(OSError), socket.create_connection(relay._target) as stream:
            for piece in altered:
                stream.sendall(piece)
    await_count(server, "handshakes_refused", 100)
    assert server.core.counts["messages"] == messages
    with Client(server.endpoint, robot) as client:
        await_chunk(client)


@pytest.mark.parametrize("mechanism", [b"NULL", b"PLAIN", b"CURVE"])
def test_a_message_in_plain_text_is_not_seen(server: Server, robot: ClientKeys, mechanism: bytes) -> None:
    # A client that does not wait to be refused: greeting, READY and message at once.
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)
    assert len(greeting) == GREETING_BYTES
    ready = b"\x05READY\x0bSocket-Type" + (6).to_bytes(4, "big") + b"DEALER"
    message = bytes(encode(Hello(1)))
    with socket.create_connection(("127.0.0.1", int(server.endpoint.rsplit(":", 1)[1]))) as stream:
        stream.sendall(greeting + b"\x04" + bytes([len(ready)]) + ready + b"\x00" + bytes([len(message)]) + message)
        assert len(read_all(stream)) <= GREETING_BYTES
    await_count(server, "handshakes_refused", 1)
    assert server.core.counts["messages"] == server.core.counts["messages_refused"] == 0
    with Client(server.endpoint, robot) as client:
        client.hello()


def test_a_web_browser_gets_nothing(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", int(server.endpoint.rsplit(":", 1)[1]))) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: robot\r\n\r\n" * 4)
        assert len(read_all(stream)) <= GREETING_BYTES
    assert server.core.counts["messages"] == 0


def test_a_client_with_keys_is_told_that_a_server_has_none(robot: ClientKeys) -> None:
    with serving(None) as server, Client(server.endpoint, robot) as client:
        with pytest.raises(ServerUnreachableError, match=r"see that the server is served with --keys"):
            client.hello(0.4)
        assert server.core.counts["messages"] == 0


def test_a_server_with_keys_may_listen_to_other_machines(keyring: Keyring, robot: ClientKeys) -> None:
    with (
        serving(ServerKeys.load(keyring.server), "tcp://0.0.0.0:*") as server,
        Client(server.endpoint.replace("0.0.0.0", "127.0.0.1"), robot) as client,
    ):
        client.hello()


def test_keys_guard_a_socket_file_as_well(keyring: Keyring, robot: ClientKeys, tmp_path: Path) -> None:
    with (
        serving(ServerKeys.load(keyring.server), f"ipc://{tmp_path}/door") as server,
        Client(server.endpoint, robot) as client,
        Client(server.endpoint) as stranger,
    ):
        client.hello()
        with pytest.raises(ServerUnreachableError, match="give --key and --server-key"):
            stranger.hello(1.0)


def test_a_key_that_is_taken_away_is_noticed_by_a_server_that_runs(
    server: Server, keyring: Keyring, robot: ClientKeys
) -> None:
    with Client(server.endpoint, robot) as client:
        await_chunk(client)
        keyring.listed("robot").unlink()
        await_count(server, "clients_revoked", 1)


def test_no_secret_is_said_anywhere(
    server: Server, keyring: Keyring, robot: ClientKeys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stranger = keyring.client("stranger", allowed=False)
    keys = ServerKeys.load(keyring.server)
    with Client(server.endpoint, stranger) as refused, pytest.raises(ServerUnreachableError) as caught:
        refused.hello(0.4)
    assert "refused a client at 127.0.0.1: its key SHA256:" in caplog.text
    said = f"{caplog.text} {caught.value} {keys} {keys!r} {robot} {robot!r} {stranger} {stranger.own!r}"
    assert stranger.own.public in said
    for secret in (keys.own.secret, robot.own.secret, stranger.own.secret):
        assert secret not in said


def test_a_server_needs_one_secret_key_of_its_own(keyring: Keyring, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="is not a folder of keys; make one with `st4vla keys make server"):
        ServerKeys.load(tmp_path / "none")
    with pytest.raises(KeyFileError, match="holds none; make one with"):
        ServerKeys.load(tmp_path)
    write_pair(keyring.server, "robot", make_pair())
    with pytest.raises(KeyFileError, match=r"holds 2 \(robot\.key_secret, server\.key_secret\)"):
        ServerKeys.load(keyring.server)


def test_a_server_stops_while_strangers_knock(server: Server, keyring: Keyring, robot: ClientKeys) -> None:
    unlisted = keyring.client("stranger", allowed=False)
    context, sockets = zmq.Context(), []
    for keys in (unlisted, replace(robot, server_public=make_pair().public), None) * 4:
        knocking = context.socket(zmq.DEALER)
        knocking.setsockopt(zmq.LINGER, 0)
        knocking.setsockopt(zmq.RECONNECT_IVL, 1)
        if keys is not None:
            keys.secure(knocking)
        knocking.connect(server.endpoint)
        sockets.append(knocking)
    await_count(server, "handshakes_refused", 50)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("st4vla")]
    context.destroy(linger=0)
