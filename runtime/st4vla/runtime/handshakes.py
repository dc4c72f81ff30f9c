"""How a socket's connections begin, as ZeroMQ's monitor tells it, and what to do about one that does not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import zmq
from zmq.utils.monitor import parse_monitor_message

from st4vla.runtime.curve import ClientKeys

FAILURES = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
#: Events that wait at most. At the limit ZeroMQ's own thread would wait for us, and every connection with it.
_WAITING = 100_000
_NUMBERS = itertools.count()


class Handshakes:
    """Watch a socket's handshakes. Made before the socket connects or binds, and stopped before it closes.

    Args:
        socket: What is watched.
        wanted: Events of ZeroMQ's monitor to hear of.
    """

    def __init__(self, socket: zmq.Socket[bytes], wanted: int = FAILURES) -> None:
        self._watched = socket
        address = f"inproc://handshakes/{next(_NUMBERS)}"
        socket.monitor(address, wanted)
        #: Readable when there is an event; may be polled and read by another thread than the socket's.
        self.events = socket.context.socket(zmq.PAIR)
        self.events.setsockopt(zmq.RCVHWM, _WAITING)
        self.events.setsockopt(zmq.LINGER, 0)
        self.events.connect(address)

    def read(self) -> Iterator[zmq.Event]:
        """Yield the events since the last call, without waiting."""
        while True:
            try:
                parts = self.events.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield zmq.Event(parse_monitor_message(parts)["event"])

    def stop(self) -> None:
        """End the events, in the socket's thread; `events` must be open still, for without a reader ZeroMQ blocks."""
        self._watched.disable_monitor()

    def close(self) -> None:
        """Free what `events` holds, after `stop`."""
        self.events.close()


class Greeting:
    """Remember how a client's connections to its server begin, to say what to do when no answer comes.

    Args:
        socket: The client's, before it connects.
        keys: The client's keys, if it has any.
    """

    def __init__(self, socket: zmq.Socket[bytes], keys: ClientKeys | None) -> None:
        self._handshakes = Handshakes(socket, FAILURES | zmq.EVENT_CONNECTED)
        self._keys = keys
        self._seen: set[zmq.Event] = set()

    def update(self) -> None:
        """Take note of what happened; to be called now and then, or events pile up while a server is away."""
        self._seen.update(self._handshakes.read())

    def advice(self) -> str:
        """Return what to do when no answer came."""
        self.update()
        refused = bool(self._seen & {zmq.Event.HANDSHAKE_FAILED_NO_DETAIL, zmq.Event.HANDSHAKE_FAILED_PROTOCOL})
        if not self._seen:
            return "start one with `st4vla serve BUNDLE`"
        if self._keys is None:
            if refused:
                return "what listens there hangs up, as a server that wants keys does: give --key and --server-key"
            return "what listens there says nothing: is it a server of this project, and does it hang?"
        # A server that does not know a key and one that has another key may both fall silent, or both hang up.
        return (
            f"what listens there does not talk to this client: let its key in ({self._keys.client}) with "
            f"`st4vla keys allow`, and see that the server is served with --keys and has the key of --server-key "
            f"({self._keys.server})"
        )

    def close(self) -> None:
        """Stop, in the socket's thread and before it closes."""
        self._handshakes.stop()
        self._handshakes.close()
