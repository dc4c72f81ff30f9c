import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from st4vla.contracts.errors import ServerUnreachableError, UsageError
from st4vla.runtime.monitoring import Monitor
from st4vla.runtime.observer import Observer
from st4vla.runtime.watching import fetch_snapshot, monitor_url


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], str]]:
    """Return a function that starts a server of one answer and returns its URL."""
    running: list[socketserver.TCPServer] = []

    def start(status: int, body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = socketserver.TCPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_snapshot_is_fetched() -> None:
    monitor = Monitor(Observer("tiny", "ab"), "127.0.0.1:0")
    monitor.start()
    found = fetch_snapshot(monitor_url(monitor.url))
    monitor.close()
    assert (found.bundle_name, found.health) == ("tiny", "starting")


def test_nobody_at_the_address_is_said_with_what_to_do() -> None:
    with pytest.raises(
        ServerUnreachableError, match=r"127\.0\.0\.1:1 \(Connection refused\); start a server with .*:1`"
    ):
        fetch_snapshot("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("status", "body", "match"),
    [
        (200, b"<html>", "no st4vla server of this version"),
        (200, b'{"bundle_name":7}', "no st4vla server of this version"),
        (404, b"{}", r"has no /snapshot \(status 404\)"),
    ],
)
def test_somebody_else_at_the_address_is_told_apart(
    answering: Callable[[int, bytes], str], status: int, body: bytes, match: str
) -> None:
    with pytest.raises(ServerUnreachableError, match=match):
        fetch_snapshot(answering(status, body))


@pytest.mark.parametrize("given", ["127.0.0.1:9464", "http://127.0.0.1:9464", "http://127.0.0.1:9464/"])
def test_an_address_may_be_given_without_its_scheme(given: str) -> None:
    assert monitor_url(given) == "http://127.0.0.1:9464"


@pytest.mark.parametrize(
    "given", ["tcp://127.0.0.1:5555", "https://a:1", "127.0.0.1", "http://a:b", "http://a:1/x", ""]
)
def test_what_is_no_address_of_a_monitor_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="such as http://127"):
        monitor_url(given)
