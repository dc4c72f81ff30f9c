"""A cable that can be cut: a TCP relay that lets so many bytes through."""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import closing, suppress
from types import TracebackType

from typing_extensions import Self

_BLOCK_BYTES = 1 << 14
#: Closed with this option, a connection is reset instead of ended in peace.
_RESET = struct.pack("ii", 1, 0)


class CutLink:
    """Relay connections to a server, and reset the first one after so many bytes; the later ones are let through.

    Args:
        server: Address and port that connections are passed on to.
        cut_after_bytes: From client to server; None cuts nothing.
        for_good: After the cut, nobody gets through any more.

    Attributes:
        address: Where clients connect.
        connections: How many there have been.
        cuts: How many of them were cut.
        to_server_bytes: What went to the server in all of them.
        to_client_bytes: What came back.
    """

    def __init__(self, server: tuple[str, int], cut_after_bytes: int | None = None, *, for_good: bool = False) -> None:
        self._server, self._left_bytes, self._for_good = server, cut_after_bytes, for_good
        self._listener = socket.create_server((server[0], 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.connections = self.cuts = self.to_server_bytes = self.to_client_bytes = 0
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, name="cut-link", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, and end those that there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), name="cut-link", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with closing(client):
            if self.cuts and self._for_good:
                return
            try:
                server = socket.create_connection(self._server, timeout=10)
            except OSError:
                return
            with closing(server):
                self._open |= {client, server}
                try:
                    whole = self._relay(client, server)
                except OSError:
                    whole = True
                self._open -= {client, server}
                if not whole:
                    self.cuts += 1
                    for end in (client, server):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _relay(self, client: socket.socket, server: socket.socket) -> bool:
        """Pass bytes on until one side has ended; False when it was this link that ended it."""
        first = self.connections == 1 and self._left_bytes is not None
        while True:
            ready, _, _ = select.select([client, server], [], [])
            if client in ready:
                data = client.recv(_BLOCK_BYTES)
                if first and self._left_bytes is not None:
                    if len(data) >= self._left_bytes:
                        server.sendall(data[: self._left_bytes])
                        return False
                    self._left_bytes -= len(data)
                if not data:
                    return True
                self.to_server_bytes += len(data)
                server.sendall(data)
            if server in ready:
                data = server.recv(_BLOCK_BYTES)
                if not data:
                    return True
                self.to_client_bytes += len(data)
                client.sendall(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
