"""Probes, metrics and snapshots over HTTP, for readers only.

=============  ==========================================================================================
``/live``      200 unless nothing but a restart helps, else 503 and why
``/ready``     200 when observations are answered (and what is wrong nevertheless), else 503 and why not
``/metrics``   Prometheus' text format, or OpenMetrics for who asks for it
``/snapshot``  everything, as JSON
=============  ==========================================================================================

A few connections at most are open at once: a further one closes the oldest, so that whoever connects and says nothing
keeps nobody out.
"""

from __future__ import annotations

import errno
import logging
import socket
import socketserver
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

import msgspec

from st4vla.contracts.errors import PortInUseError, TransportError, UsageError
from st4vla.runtime.metrics import Exposition
from st4vla.runtime.observer import Observer

LOG = logging.getLogger(__name__)
#: Connections at once, and how long one may say nothing.
MAX_CONNECTIONS, SILENCE_S = 8, 2.0
#: Connections that the kernel keeps until they are let in.
BACKLOG = 64
POLL_S = 0.05
TEXT = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    content_type: str
    body: bytes


class Monitor:
    """Serve what an observer knows, from `start` to `close`.

    Args:
        observer: Whom to ask.
        address: Where to listen, ``HOST:PORT``; port 0 takes a free one.

    Attributes:
        url: Where it listens, once started.

    Raises:
        UsageError: Not an address.
        MissingExtraError: prometheus_client is not installed.
    """

    def __init__(self, observer: Observer, address: str) -> None:
        self._observer = observer
        self._address = split_address(address)
        self._exposition = Exposition(observer.snapshot)
        self._routes: dict[str, Callable[[str], Answer]] = {
            "/": self._index,
            "/live": lambda _: _probe(observer.why_dead(), "live"),
            "/ready": self._ready,
            "/metrics": lambda accept: Answer(200, *self._exposition.write(accept)),
            "/snapshot": lambda _: Answer(200, "application/json", msgspec.json.encode(observer.snapshot())),
        }
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self) -> None:
        """Listen.

        Raises:
            PortInUseError: Somebody else listens there.
            TransportError: This machine cannot listen there.
        """
        host, port = self._address
        try:
            self._server = _Server(host, port, self.answer)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                msg = f"{host}:{port} is in use by another process; choose another address with --metrics"
                raise PortInUseError(msg) from error
            msg = f"cannot listen on {host}:{port}: {error.strerror or error}; an address looks like 127.0.0.1:9464"
            raise TransportError(msg) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}"
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(POLL_S,), name="st4vla_monitor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and close what is open; waits for nobody's request."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None

    def answer(self, path: str, accept: str) -> Answer:
        """Return the answer to a GET of a path."""
        route = self._routes.get(path.partition("?")[0])
        if route is None:
            return Answer(404, TEXT, f"no such page; there are {', '.join(self._routes)}\n".encode())
        try:
            return route(accept)
        except Exception as error:
            # What cannot be told must not end the telling.
            LOG.exception("%s failed", path)
            return Answer(500, TEXT, f"{type(error).__name__}; the server's log says more\n".encode())

    def _index(self, accept: str) -> Answer:
        del accept
        return Answer(200, TEXT, ("\n".join(self._routes) + "\n").encode())

    def _ready(self, accept: str) -> Answer:
        del accept
        why_not = self._observer.why_not_ready()
        causes = () if why_not is not None else self._observer.snapshot().causes
        return _probe(why_not, "\n".join(["ready", *(f"degraded: {cause.text}" for cause in causes)]))


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` or ``[HOST]:PORT``.

    Raises:
        UsageError: It is neither. A host must be named, so that nobody listens to the world without having said so.
    """
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        msg = f"--metrics {address}: give HOST:PORT, such as 127.0.0.1:9464, or 0.0.0.0:9464 for every network"
        raise UsageError(msg)
    return host, int(port)


def _probe(why_not: str | None, well: str) -> Answer:
    return Answer(200 if why_not is None else 503, TEXT, f"{well if why_not is None else why_not}\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each connection, and few of them."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = BACKLOG

    def __init__(self, host: str, port: int, answer: Callable[[str, str], Answer]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.answer = answer
        self._open: deque[Any] = deque()
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.append(request)
            if len(self._open) > MAX_CONNECTIONS:
                _hang_up(self._open.popleft())
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock, suppress(ValueError):
            self._open.remove(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            for request in self._open:
                _hang_up(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request
        LOG.debug("a request of %s failed", client_address, exc_info=True)


def _hang_up(request: Any) -> None:
    """Wake the thread that reads or writes; it closes."""
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    timeout = SILENCE_S
    server_version, sys_version = "st4vla", ""
    server: _Server

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        answer = self.server.answer(self.path, self.headers.get("Accept", ""))
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if body:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class names it
        LOG.debug(format, *arguments)
