"""A socket that listens, or a sentence that says why not."""

from __future__ import annotations

import errno
import socket

from st4vla.contracts.errors import PortInUseError, TransportError

BACKLOG = 64


def listen(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket on a numeric address; port 0 takes a free one.

    Raises:
        PortInUseError: Somebody else listens there.
        TransportError: The address is not one that this machine can listen on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port that a server left a moment ago may be taken again.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise in_use_or_impossible(error.errno, f"tcp://{host}:{port}", error) from error
    return listener


def in_use_or_impossible(number: int | None, address: str, why: object) -> TransportError:
    """Return the error for an address that cannot be bound, from the system's error number."""
    if number == errno.EADDRINUSE:
        return PortInUseError(f"{address} is in use by another process; stop it, or choose another port for the door")
    return TransportError(f"cannot listen on {address}: {why}")
