"""What waits to be sent: written by any thread, emptied by the one that owns the socket."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress

from st4vla.contracts.messages import Message

#: More than the systems of one process say between two looks of the wire.
CAPACITY = 1024


class Outbox:
    """Messages by client, with a descriptor that a poller can wait on.

    What a client would not take is kept, one message of each kind, until it takes it or a newer one comes.

    Attributes:
        superseded: Messages that a newer one replaced.
    """

    def __init__(self) -> None:
        self._fresh: deque[tuple[bytes, Message]] = deque(maxlen=CAPACITY)
        self._refused: dict[tuple[bytes, type[Message]], Message] = {}
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.superseded = 0

    def put(self, client: bytes, message: Message) -> None:
        """Leave a message for a client; never blocks."""
        self._fresh.append((client, message))
        self.wake()

    def wake(self) -> None:
        """Make the descriptor readable."""
        with suppress(BlockingIOError):
            os.eventfd_write(self._event, 1)

    def take(self) -> list[tuple[bytes, Message]]:
        """Return everything that waits, and make the descriptor unreadable."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        taken = self._refused
        self._refused = {}
        fresh = []
        while self._fresh:
            client, message = self._fresh.popleft()
            if taken.pop((client, type(message)), None) is not None:
                self.superseded += 1
            fresh.append((client, message))
        return [(client, message) for (client, _), message in taken.items()] + fresh

    def refuse(self, client: bytes, message: Message) -> None:
        """Give back a message that its client cannot take now."""
        if (client, type(message)) in self._refused:
            self.superseded += 1
        self._refused[client, type(message)] = message

    def forget(self, client: bytes) -> None:
        """Drop what waits for a client that is gone."""
        for key in [key for key in self._refused if key[0] == client]:
            del self._refused[key]

    @property
    def has_refused(self) -> bool:
        """Whether something waits for a client that could not take it."""
        return bool(self._refused)

    def fileno(self) -> int:
        """Return the descriptor, readable when there is something fresh."""
        return self._event

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._event)
