"""One client on this machine: its socket, the memory that it shares, and what it could not take yet."""

from __future__ import annotations

import array
import itertools
import socket
import threading
from collections import Counter

from st4vla.contracts.errors import MalformedMessageError, TruncatedMessageError
from st4vla.contracts.messages import Message
from st4vla.contracts.wire import encode
from st4vla.runtime.local.note import MAGIC, Memory, read_note
from st4vla.runtime.outbox import Outbox

#: Frames up to this size come in a packet of their own, as a hello does.
MAX_PACKET_BYTES = 4096
#: Replies are small: a socket's usual buffer would keep seconds of them for a client that does not read.
SEND_BUFFER_BYTES = 32 * 1024
_DESCRIPTOR_BYTES = array.array("i").itemsize


class Guest:
    """A client that has come in.

    Args:
        name: What the core knows it by.
        stream: Its connected socket, of packets; closed with this object.
        max_message_bytes: No larger frame is taken.
        counts: What happens is counted here.
    """

    def __init__(self, name: bytes, stream: socket.socket, max_message_bytes: int, counts: Counter[str]) -> None:
        self.name = name
        self.stream = stream
        self._max_bytes, self._counts = max_message_bytes, counts
        self._memory: Memory | None = None
        self._sequence = itertools.count(1)
        self._lock = threading.Lock()
        self._outbox = Outbox()
        stream.setblocking(False)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def receive(self) -> tuple[bytes, bool] | None:
        """Return the next packet and whether it is a whole one, or None when there is none yet; keep a memory in it.

        Raises:
            EOFError: The client is gone.
            MalformedMessageError: What came with the packet is no memory.
        """
        try:
            packet, extras, flags, _ = self.stream.recvmsg(
                MAX_PACKET_BYTES, socket.CMSG_LEN(_DESCRIPTOR_BYTES), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError from error
        if not packet:
            raise EOFError
        for level, kind, data in extras:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                for descriptor in array.array("i", data):
                    self._share(descriptor)
        return packet, not flags & socket.MSG_TRUNC

    def frame(self, packet: bytes, *, whole: bool) -> bytes | None:
        """Return the frame that a packet is, or names; None for one that its successor has overwritten.

        Raises:
            WireError: There is none.
        """
        if not whole:
            msg = f"a packet of more than {MAX_PACKET_BYTES} bytes; larger frames come in shared memory"
            raise TruncatedMessageError(msg)
        if packet[: len(MAGIC)] != MAGIC:
            return packet
        note = read_note(packet, self._max_bytes)
        if self._memory is None:
            msg = "a note on a frame in shared memory, and no memory came with it or before it"
            raise MalformedMessageError(msg)
        return self._memory.copy(note)

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
        """Hang up."""
        with self._lock:
            self.stream.close()
            if self._memory is not None:
                self._memory.close()
                self._memory = None

    def _share(self, descriptor: int) -> None:
        memory = Memory(descriptor)
        if self._memory is not None:
            self._memory.close()
        self._memory = memory

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
