"""Messages of the flashing protocol over a pair of descriptors: a socket, or standard input and output."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from st4vla.contracts.errors import DeviceBusyError, TransportError
from st4vla.contracts.flash_messages import Answer, Request, encode, message_length

#: What is read at once: several messages of data.
READ_BYTES = 1 << 20
#: Of the length before each message.
_HEAD = 4


class MessageStream:
    """Messages both ways. One thread receives; any may send, whole messages at a time.

    Args:
        source: Descriptor to read.
        sink: Descriptor to write.
    """

    def __init__(self, source: int, sink: int) -> None:
        for descriptor in (source, sink):
            # Whoever started this process may have left them otherwise.
            os.set_blocking(descriptor, True)
        # Reads what is larger than its buffer straight into its place.
        self._source = os.fdopen(source, "rb", READ_BYTES, closefd=False)
        self._sink = sink
        self._lock = threading.Lock()

    def receive(self) -> bytes | None:
        """Wait for a message and return its body; None at the end of the stream, also in the middle of a message.

        Raises:
            TransportError: What comes is not of this protocol.
        """
        try:
            head = self._source.read(_HEAD)
            if len(head) < _HEAD:
                return None
            length = message_length(head)
            body = self._source.read(length)
        except (ConnectionError, TimeoutError):
            return None
        return body if len(body) == length else None

    def send(self, message: Request | Answer) -> bool:
        """Send a message; False when nobody is there any more."""
        return self.forward(encode(message))

    def forward(self, data: bytes) -> bool:
        """Send what is encoded already, with its length; False when nobody is there any more."""
        left = memoryview(data)
        try:
            with self._lock:
                while left:
                    left = left[os.write(self._sink, left) :]
        except OSError:
            return False
        return True


def connect(path: Path) -> socket.socket:
    """Connect to a supervisor's socket, however long its path is.

    Raises:
        DeviceBusyError: Too many are connected.
        TransportError: No supervisor listens there, or this user may not talk to it.
    """
    try:
        with _short(path) as address:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                link.connect(address)
            except BaseException:
                link.close()
                raise
    except PermissionError as error:
        msg = f"{path} is not for this user; let an administrator add it to the group that owns {path.parent}"
        raise TransportError(msg) from error
    except BlockingIOError as error:
        msg = f"too many are connected to {path}; try again in a moment"
        raise DeviceBusyError(msg) from error
    except OSError as error:
        msg = (
            f"no supervisor runs for {path.parent}; start it with `systemctl start st4vla-device`, or with "
            f"`st4vla device run --root {path.parent}`"
        )
        raise TransportError(msg) from error
    return link


def listen(path: Path, backlog: int) -> socket.socket:
    """Listen on a socket, which its owner and its group may use; one that is left over there is replaced.

    Raises:
        TransportError: It cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as address:
            path.unlink(missing_ok=True)
            listener.bind(address)
        path.chmod(0o660)
        with contextlib.suppress(PermissionError):
            os.chown(path, -1, path.parent.stat().st_gid)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        msg = f"cannot listen on {path}: {error.strerror}; `st4vla device init` makes a device's folder"
        raise TransportError(msg) from error
    return listener


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield an address of at most 108 bytes, as a socket's must be, for a path of any length."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
