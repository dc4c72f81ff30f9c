"""A client that counts how often it was connected."""

from __future__ import annotations

from contextlib import suppress

import zmq
from zmq.utils.monitor import recv_monitor_message

from st4vla.runtime.client import Client


class CountingClient(Client):
    """A client as robots use it, whose socket is watched.

    Attributes:
        connections: How often the connection was made.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self._events = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self.connections = 0

    def count(self) -> int:
        """Return how often the connection was made so far."""
        with suppress(zmq.Again):
            while True:
                # Typed for any socket, of which only one that is awaited gives no dictionary.
                event: dict[str, object] = recv_monitor_message(self._events, zmq.NOBLOCK)  # type: ignore[assignment]
                self.connections += event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
        return self.connections

    def close(self) -> None:
        """Count for the last time, and close the socket."""
        if not self._socket.closed:
            self.count()
            self._socket.disable_monitor()
            self._events.close()
        super().close()
