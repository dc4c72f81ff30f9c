"""A server's life: where it listens, whom it remembers, and how it stops."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
import zmq

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import PortInUseError, ServerUnreachableError, TransportError
from st4vla.contracts.messages import Hello, Observation, View
from st4vla.contracts.wire import encode
from st4vla.runtime.client import Client
from st4vla.runtime.core import Core
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.scheduler import SchedulingConfig
from st4vla.runtime.server import Server

SIZE = 28


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(Core(NullPolicy(image_size=SIZE)), "tcp://127.0.0.1:*")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.endpoint) as connected:
        yield connected


def test_stopping_does_not_wait_for_a_flood_to_end(server: Server, client: Client) -> None:
    flooding = threading.Event()

    def flood() -> None:
        context = zmq.Context()
        with context.socket(zmq.DEALER) as stranger:
            stranger.setsockopt(zmq.LINGER, 0)
            stranger.connect(server.endpoint)
            while not flooding.is_set():
                with suppress(zmq.Again):
                    stranger.send(b"x", zmq.NOBLOCK)
        context.term()

    thread = threading.Thread(target=flood)
    thread.start()
    client.hello()
    began = time.monotonic()
    server.stop()
    took_s = time.monotonic() - began
    flooding.set()
    thread.join()
    assert took_s < 2


def test_ways_to_clients_that_lost_their_places_are_forgotten() -> None:
    core = Core(NullPolicy(image_size=SIZE), SchedulingConfig(max_clients=2, idle_ns=1))
    for index in range(50):
        now_ns = monotonic_ns()
        views = tuple(
            View.from_pixels(name, np.zeros((SIZE, SIZE, 3), np.uint8), now_ns) for name in ("agentview", "wrist")
        )
        assert core.submit(b"%d" % index, Observation(1, views, "lift", sent_ns=now_ns), now_ns, print) is None
    assert len(core._outlets) == 2


def test_a_port_in_use_is_named(server: Server) -> None:
    other = Server(Core(NullPolicy()), server.endpoint)
    with pytest.raises(PortInUseError, match="is in use by another process"):
        other.start()
    other.stop()


def test_an_address_that_is_none_is_refused() -> None:
    server = Server(Core(NullPolicy()), "nonsense")
    with pytest.raises(TransportError, match="an address looks like tcp"):
        server.start()
    server.stop()
    with pytest.raises(TransportError, match="an address looks like tcp"):
        Client("nonsense")


def test_a_server_that_is_not_there_is_named_after_the_time_given() -> None:
    with Client("tcp://127.0.0.1:1") as client, pytest.raises(ServerUnreachableError, match=r"within 0\.3 s"):
        client.hello(0.3)


def test_stopping_ends_every_thread(server: Server, client: Client) -> None:
    client.hello()
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("st4vla")]


def test_replies_that_a_client_does_not_read_are_replaced_and_counted(server: Server) -> None:
    context = zmq.Context()
    with context.socket(zmq.DEALER) as deaf:
        for option, value in ((zmq.LINGER, 0), (zmq.RCVHWM, 1), (zmq.RCVBUF, 4096)):
            deaf.setsockopt(option, value)
        deaf.connect(server.endpoint)
        deadline = time.monotonic() + 10
        while not server.core.counts["replies_superseded"] and time.monotonic() < deadline:
            deaf.send(encode(Hello(1)))
        assert server.core.counts["replies_superseded"] > 0
    context.term()
