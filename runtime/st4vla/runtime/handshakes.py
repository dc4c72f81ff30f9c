"""How the handshakes of a socket end when they fail, as ZeroMQ's monitor tells it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import zmq
from zmq.utils.monitor import parse_monitor_message

from st4vla.runtime.curve import ClientKeys

_NUMBERS = itertools.count()
#: Events that wait at most. At the limit ZeroMQ's own thread would wait for us, and every connection with it.
_WAITING = 100_000


class Handshakes:
    """Watch a socket's handshakes. Made before the socket connects or binds, and closed before it closes.

    Args:
        socket: What is watched.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._watched = socket
        address = f"inproc://handshakes/{next(_NUMBERS)}"
        failures = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        socket.monitor(address, failures | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        #: Readable when a handshake has failed; may be polled and drained by another thread than the socket's.
        self.events = socket.context.socket(zmq.PAIR)
        self.events.setsockopt(zmq.RCVHWM, _WAITING)
        self.events.setsockopt(zmq.LINGER, 0)
        self.events.connect(address)

    def failures(self) -> Iterator[zmq.Event]:
        """Yield the kind of each failure since the last call, without waiting."""
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


@contextmanager
def watched(socket: zmq.Socket[bytes]) -> Iterator[Handshakes]:
    """Watch a socket's handshakes for the length of a block, in the thread of the socket."""
    handshakes = Handshakes(socket)
    try:
        yield handshakes
    finally:
        handshakes.stop()
        handshakes.close()


def advice(handshakes: Handshakes, keys: ClientKeys | None) -> str:
    """Return what to do when a server did not answer, from what its handshakes with a client came to."""
    seen = set(handshakes.failures())
    if not seen:
        # Nobody was there to shake hands with, or it was over before anybody watched.
        with_keys = "" if keys is None else " --keys FOLDER`, for this client has keys and talks to no other"
        return f"start one with `st4vla serve BUNDLE{with_keys or '`'}"
    if keys is None:
        return (
            "something listens there and hangs up before it hears what is wanted: a server that wants keys does; "
            "give --key and --server-key"
        )
    if seen == {zmq.Event.HANDSHAKE_FAILED_PROTOCOL}:
        return "something listens there, but it uses no keys; serve with --keys, or leave --key and --server-key out"
    return (
        "something listens there and hangs up while keys are compared: either this client's key is not allowed there "
        f"(`st4vla keys allow`), or --server-key is not the key of that server; {keys}"
    )
