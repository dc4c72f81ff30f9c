"""One client on this machine: its socket, the memory that it shares, and what it could not take yet."""

from __future__ import annotations

import array
import itertools
import socket
import threading
from collections import Counter
from typing import NamedTuple

from st4vla.contracts.errors import MalformedMessageError, TruncatedMessageError
from st4vla.contracts.messages import Message
from st4vla.contracts.wire import decode, encode
from st4vla.runtime.local.memory import MAGIC, Memory, read_note
from st4vla.runtime.outbox import Outbox

#: A hello, a goodbye and a note are shorter.
MAX_PACKET_BYTES = 4096
#: Replies are small: a socket's usual buffer would keep seconds of them for a client that does not read. The system
#: doubles it, so that the largest chunk that the firmware bridge takes has a place.
SEND_BUFFER_BYTES = 16 * 1024
_EXTRA_BYTES = socket.CMSG_LEN(array.array("i").itemsize)


class Packet(NamedTuple):
    """What came by a socket at once: bytes, whether there were more of them, and a descriptor that came with them."""

    data: bytes
    is_cut: bool
    descriptor: int | None


class Guest:
    """A client that has come in.

    Args:
        name: What the core knows it by.
        stream: Its connected socket, of packets; closed with this object.
        counts: What happens is counted here.
        copies: Its messages are copied, and it has its memories back at once, because somebody keeps them for long.
    """

    def __init__(self, name: bytes, stream: socket.socket, counts: Counter[str], *, copies: bool) -> None:
        self.name = name
        self.stream = stream
        self._counts, self._copies = counts, copies
        self._memories: dict[int, Memory] = {}
        self._sequence = itertools.count(1)
        self._lock = threading.Lock()
        self._outbox = Outbox()
        stream.setblocking(False)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def receive(self) -> Packet | None:
        """Return the next packet, or None when there is none yet.

        Raises:
            EOFError: The client is gone.
        """
        try:
            data, extras, flags, _ = self.stream.recvmsg(MAX_PACKET_BYTES, _EXTRA_BYTES, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        # There is room for one.
        descriptors = [array.array("i", extra)[0] for level, kind, extra in extras if kind == socket.SCM_RIGHTS]
        return Packet(data, bool(flags & socket.MSG_TRUNC), descriptors[0] if descriptors else None)

    def read(self, packet: Packet) -> Message:
        """Return the message that a packet carries, or that it is a note of.

        Raises:
            WireError: There is none.
        """
        memory = None if packet.descriptor is None else Memory(packet.descriptor)
        if packet.is_cut:
            msg = f"a packet of more than {MAX_PACKET_BYTES} bytes; larger messages lie in shared memory"
            raise TruncatedMessageError(msg)
        if packet.data[: len(MAGIC)] != MAGIC:
            return decode(packet.data)
        index, size = read_note(packet.data)
        if memory is not None:
            self._memories[index] = memory
        if index not in self._memories:
            msg = f"a note on memory {index}, which came neither with it nor before it"
            raise MalformedMessageError(msg)
        frame = self._memories[index].message(size)
        return decode(bytes(frame) if self._copies else frame, has_travelled=False)

    @property
    def is_behind(self) -> bool:
        """Whether anything waits for it."""
        return bool(self._outbox)

    def send(self, message: Message) -> None:
        """Send a message, or keep it while the client cannot take it; never blocks."""
        with self._lock:
            if self._outbox:
                self._keep(message)
            else:
                self._send_now(message)

    def retry(self) -> None:
        """Send what waits."""
        if self._outbox:
            with self._lock:
                for _, message in self._outbox.take():
                    self._send_now(message)

    def close(self) -> None:
        """Hang up. Memories stay as long as anything refers to a message in them."""
        with self._lock:
            self.stream.close()
            self._memories.clear()

    def _send_now(self, message: Message) -> None:
        try:
            self.stream.send(encode(message, next(self._sequence)), socket.MSG_NOSIGNAL)
        except BlockingIOError:
            self._keep(message)
        except OSError:
            # It is gone, as the thread that reads will notice.
            self._counts["replies_dropped"] += 1

    def _keep(self, message: Message) -> None:
        superseded = self._outbox.superseded
        self._outbox.put(self.name, message)
        if self._outbox.superseded > superseded:
            self._counts["replies_superseded"] += 1
