"""The WebSocket side of a door: one thread with an event loop, whatever the number of clients.

Measured against a thread for each connection (websockets 17.4, 301 kB requests, loopback, 2 cores): the same median
within the noise between runs, and no thread that a silent client could keep.
"""

from __future__ import annotations

import asyncio
import http
import itertools
import logging
import socket
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from st4vla.contracts.errors import MissingExtraError, TransportError
from st4vla.runtime.doors.conversation import Conversation
from st4vla.runtime.doors.dialect import Dialect
from st4vla.runtime.doors.door import Core
from st4vla.runtime.doors.listening import listen
from st4vla.runtime.doors.options import DoorOptions
from st4vla.runtime.doors.seats import Party

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request as HttpRequest
    from websockets.http11 import Response as HttpResponse

LOG = logging.getLogger(__name__)
#: A foreign handshake is no error of ours; the library would log a traceback for each.
WIRE_LOG = logging.getLogger(f"{__name__}.wire")
WIRE_LOG.setLevel(logging.CRITICAL)

#: How long a client may take for a handshake, and for saying goodbye.
HANDSHAKE_S, CLOSE_S = 5.0, 1.0
#: A client that answers no ping is gone. The clients' own library answers while they compute.
PING_S = 20.0
START_S, STOP_S = 10.0, 10.0


class WebsocketDoor:
    """Serve a dialect to WebSocket clients.

    Args:
        dialect: What is said.
        core: Who answers.
        options: Where to listen, and the limits.

    Attributes:
        name: Whose protocol it is.
        address: For example ``ws://127.0.0.1:8000``.
        counts: What came and went.
    """

    def __init__(self, dialect: Dialect, core: Core, options: DoorOptions) -> None:
        self._dialect, self._core, self._options = dialect, core, options
        self.name = dialect.name
        self.address = f"ws://{options.host}:{options.port}"
        self.counts: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._open = 0
        self._sockets = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Listen, and answer from a thread of its own.

        Raises:
            MissingExtraError: websockets is not installed.
            PortInUseError: Somebody else listens there.
            TransportError: The address is not one that this machine can listen on.
        """
        require_websockets()
        listener = listen(self._options.host, self._options.port)
        host, port = listener.getsockname()[:2]
        self.address = f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name=f"st4vla_{self._dialect.name}_door", daemon=True
        )
        self._thread.start()
        if not self._started.wait(START_S) or self._failure is not None:
            msg = f"the door at {self.address} did not open: {self._failure or 'no event loop in time'}"
            raise TransportError(msg)

    @property
    def is_open(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Turn the clients away and free the address."""
        if self._thread is None:
            return
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            LOG.warning("the door at %s is still closing", self.address)
        self._thread = None

    def _run(self, listener: socket.socket) -> None:
        try:
            with listener:
                asyncio.run(self._serve(listener))
        except Exception as error:
            self._failure = error
            LOG.exception("the door at %s broke", self.address)
        finally:
            self._started.set()

    async def _serve(self, listener: socket.socket) -> None:
        from websockets.asyncio.server import serve  # noqa: PLC0415 - an extra

        self._loop = asyncio.get_running_loop()
        server = await serve(
            self._converse,
            sock=listener,
            compression=None,
            # A page in a browser can reach loopback too, and says its origin; programs say none.
            origins=[None],
            max_size=self._options.max_message_bytes,
            max_queue=1,
            open_timeout=HANDSHAKE_S,
            close_timeout=CLOSE_S,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            process_request=self._admit,
            create_connection=self._bounded_connection(),
            logger=WIRE_LOG,
            server_header=None,
        )
        self._started.set()
        await self._stop.wait()
        server.close()
        with suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 3 * CLOSE_S)

    def _bounded_connection(self) -> type[ServerConnection]:
        """Return a connection that counts itself: one that never shakes hands must not hold memory without end."""
        from websockets.asyncio.server import ServerConnection  # noqa: PLC0415 - an extra

        door = self

        class Bounded(ServerConnection):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                door._sockets += 1
                if door._sockets > 2 * door._options.connections + 8:
                    door.counts["sockets_refused"] += 1
                    self.transport.abort()

            def connection_lost(self, exc: Exception | None) -> None:
                door._sockets -= 1
                super().connection_lost(exc)

        return Bounded

    def _admit(self, connection: ServerConnection, request: HttpRequest) -> HttpResponse | None:
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if self._open >= self._options.connections:
            self.counts["clients_refused"] += 1
            text = f"all {self._options.connections} places of this door are taken; try again later\n"
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, text)
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - an extra

        self._open += 1
        self.counts["clients"] += 1
        name = f"{self._dialect.name}-{id(self):x}-{next(self._numbers)}"
        party = Party(self._core, name, self._options.plan, self._options.seed)
        conversation = Conversation(connection, self._dialect, party, self._options.timeout_s, self.counts)
        try:
            await conversation.send(self._dialect.greeting())
            async for data in connection:
                if not await conversation.take(data):
                    return
        except ConnectionClosed:
            pass
        finally:
            self._open -= 1
            conversation.end()
            party.renew()


def require_websockets() -> None:
    """Refuse to go on without websockets.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import websockets.asyncio.server  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        msg = "this door needs websockets; install it with: pip install 'st4vla[doors]'"
        raise MissingExtraError(msg) from error
