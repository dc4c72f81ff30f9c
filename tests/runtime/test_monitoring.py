import http.client
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pytest

from st4vla.contracts.clock import NS_PER_MS, monotonic_ns
from st4vla.contracts.errors import PortInUseError, TransportError, UsageError
from st4vla.contracts.messages import Message, Observation, View
from st4vla.runtime import diagnosis, monitoring
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.core import Core
from st4vla.runtime.monitoring import MAX_CONNECTIONS, Monitor, split_address
from st4vla.runtime.observer import Observer
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Views
from st4vla.runtime.snapshot import Snapshot

SIZE = 8


class Hanging(NullPolicy):
    """Hangs in System 1 until it is let go."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.let_go = threading.Event()

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        self.let_go.wait(10)
        return super().act(views, plan, seed, splice)


class Reader:
    """Reads a monitor's pages."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.address = (parts.hostname or "", parts.port or 0)

    def __call__(self, path: str, method: str = "GET", accept: str = "") -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection(*self.address, timeout=5)
        connection.request(method, path, headers={"Accept": accept})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers.get("Content-Type", ""), body


@pytest.fixture
def observer() -> Observer:
    return Observer("null", "00" * 32)


@pytest.fixture
def monitor(observer: Observer) -> Iterator[Monitor]:
    running = Monitor(observer, "127.0.0.1:0")
    running.start()
    yield running
    running.close()


@pytest.fixture
def read(monitor: Monitor) -> Reader:
    return Reader(monitor.url)


def submit(core: Core, deliver: list[Message]) -> None:
    pixels, now_ns = np.zeros((SIZE, SIZE, 3), np.uint8), monotonic_ns()
    views = tuple(View.from_pixels(name, pixels, now_ns) for name in ("agentview", "wrist"))
    assert core.submit(b"a", Observation(1, views, "lift", sent_ns=now_ns), now_ns, deliver.append) is None


def test_a_server_that_warms_up_is_alive_and_not_ready(read: Reader) -> None:
    assert read("/live") == (200, monitoring.TEXT, b"live\n")
    status, _, why = read("/ready")
    assert (status, why[:10]) == (503, b"warming up")
    assert b'st4vla_health{state="starting"} 1.0' in read("/metrics")[2]
    assert msgspec.json.decode(read("/snapshot")[2], type=Snapshot).health == "starting"


def test_a_server_is_ready_until_it_stops(observer: Observer, read: Reader) -> None:
    core = Core(NullPolicy(image_size=SIZE))
    core.start()
    observer.serving(core)
    assert read("/ready") == (200, monitoring.TEXT, b"ready\n")
    core.diagnosis.watch("recording_stopped", lambda: "the disk is full: make room")
    time.sleep(diagnosis.CACHE_NS / 1e9)
    assert read("/ready") == (200, monitoring.TEXT, b"ready\ndegraded: the disk is full: make room\n")
    observer.stopping()
    core.stop()
    assert read("/ready")[0] == 503
    assert read("/live")[0] == 200


def test_a_hanging_engine_is_dead_while_it_hangs(
    observer: Observer, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "HANG_NS", 50 * NS_PER_MS)
    policy = Hanging(image_size=SIZE)
    core = Core(policy)
    core.start()
    observer.serving(core)
    answers: list[Message] = []
    submit(core, answers)
    assert read("/live")[0] == 200
    deadline = time.monotonic() + 5
    while read("/live")[0] == 200 and time.monotonic() < deadline:
        time.sleep(0.01)
    for page in ("/live", "/ready"):
        status, _, why = read(page)
        assert (status, why.startswith(b"System 1 has been in one call for 0 s: restart the server")) == (503, True)
    assert b'st4vla_cause{cause="system1_hangs"} 1.0' in read("/metrics")[2]
    policy.let_go.set()
    while not answers and time.monotonic() < deadline:
        time.sleep(0.01)
    assert read("/live")[0] == read("/ready")[0] == 200
    core.stop()


def test_metrics_come_in_the_format_that_is_asked_for(read: Reader) -> None:
    assert read("/metrics")[1].startswith("text/plain; version=")
    kind, text = read("/metrics", accept="application/openmetrics-text; version=1.0.0")[1:]
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_pages_that_do_not_exist_are_answered_with_those_that_do_and_nothing_can_be_written(read: Reader) -> None:
    assert read("/") == (200, monitoring.TEXT, b"/\n/live\n/ready\n/metrics\n/snapshot\n")
    assert read("/live?verbose=1")[0] == 200
    status, _, said = read("/../etc/passwd")
    assert (status, b"/metrics" in said) == (404, True)
    assert read("/live", method="HEAD") == (200, monitoring.TEXT, b"")
    assert [read("/snapshot", method=method)[0] for method in ("POST", "PUT", "DELETE")] == [501, 501, 501]


def test_a_page_that_fails_says_so_and_the_next_one_comes(
    observer: Observer, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Snapshot:
        raise ZeroDivisionError

    monkeypatch.setattr(observer, "snapshot", fail)
    assert read("/snapshot") == (500, monitoring.TEXT, b"ZeroDivisionError; the server's log says more\n")
    assert read("/live")[0] == 200


def test_who_connects_and_says_nothing_keeps_nobody_out_and_costs_few_threads(read: Reader) -> None:
    silent = [socket.create_connection(read.address, timeout=5) for _ in range(5 * MAX_CONNECTIONS)]
    assert read("/live")[0] == 200
    assert silent[0].recv(1) == b"", "the oldest are hung up on"
    served = [thread for thread in threading.enumerate() if "process_request" in thread.name]
    assert len(served) <= MAX_CONNECTIONS
    for connection in silent:
        connection.close()


def test_foreign_bytes_and_broken_connections_cost_nobody_anything(read: Reader) -> None:
    for said in (
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 200,
        b"\r\n" * 9,
    ):
        with socket.create_connection(read.address, timeout=5) as connection:
            connection.sendall(said)
    with socket.create_connection(read.address, timeout=5) as connection:
        connection.sendall(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.0 414")
    assert read("/live")[0] == 200


def test_stopping_waits_for_nobody_and_frees_the_address(observer: Observer) -> None:
    monitor = Monitor(observer, "127.0.0.1:0")
    monitor.start()
    address = Reader(monitor.url).address
    with socket.create_connection(address, timeout=5) as silent:
        silent.sendall(b"GET /metrics")
        assert Reader(monitor.url)("/live")[0] == 200, "so the one before has been let in"
        began = time.monotonic()
        monitor.close()
        monitor.close()
        assert time.monotonic() - began < monitoring.SILENCE_S / 2
        assert silent.recv(1) == b""
    again = Monitor(observer, f"127.0.0.1:{address[1]}")
    again.start()
    again.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "st4vla_monitor"]


def test_an_address_in_use_or_not_of_this_machine_is_named(observer: Observer, monitor: Monitor) -> None:
    with pytest.raises(PortInUseError, match="choose another address with --metrics"):
        Monitor(observer, urlsplit(monitor.url).netloc).start()
    with pytest.raises(TransportError, match=r"cannot listen on 192\.0\.2\.1:9464"):
        Monitor(observer, "192.0.2.1:9464").start()


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:0", ("::1", 0)), ("localhost:80", ("localhost", 80))],
)
def test_an_address_is_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["9464", ":9464", "::1:9464", "host:", "host:99999", "host:-1", "[]:1", ""])
def test_an_address_without_a_host_or_a_port_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"give HOST:PORT, such as 127\.0\.0\.1:9464"):
        split_address(address)
