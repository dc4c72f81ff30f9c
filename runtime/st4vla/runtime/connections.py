"""Cutting one connection of a ZeroMQ socket, for which ZeroMQ has no call of its own."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import Any

import zmq


@dataclass(frozen=True)
class Connection:
    """One connection of a socket, by its file descriptor and by both its ends.

    A descriptor is reused after its connection has ended; both ends together are not, while they are connected.
    """

    descriptor: int
    ends: tuple[Any, Any]

    def cut(self) -> bool:
        """End the connection as if the other side had; say whether it was still there.

        ZeroMQ keeps the descriptor, reads the end of the stream, and lets the peer go.
        """
        with contextlib.suppress(OSError), _borrowed(self.descriptor) as stream:
            if (stream.getsockname(), stream.getpeername()) == self.ends:
                stream.shutdown(socket.SHUT_RDWR)
                return True
        return False


def connection_of(frame: zmq.Frame) -> Connection | None:
    """Return the connection that a message came by, or None when it has ended, or never was one (inproc)."""
    with contextlib.suppress(OSError, zmq.ZMQError, ValueError):
        # What `zmq_msg_get(ZMQ_SRCFD)` returns.
        descriptor = int(frame.get("__fd"))
        with _borrowed(descriptor) as stream:
            ends = (stream.getsockname(), stream.getpeername())
        # An unnamed socket is not one that ZeroMQ listens on.
        return Connection(descriptor, ends) if ends[0] else None
    return None


def _borrowed(descriptor: int) -> socket.socket:
    """Return a second hold on a socket; closing it leaves the first as it is."""
    held = os.dup(descriptor)
    try:
        return socket.socket(fileno=held)
    except OSError:
        os.close(held)
        raise
