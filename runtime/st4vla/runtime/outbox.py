"""What clients could not take yet: one message of each kind, the newest."""

from __future__ import annotations

from st4vla.contracts.messages import Message


class Outbox:
    """Messages that wait for their clients; not safe to use from two threads at once.

    Attributes:
        superseded: Messages that a newer one replaced.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[bytes, type[Message]], Message] = {}
        self.superseded = 0

    def put(self, client: bytes, message: Message) -> None:
        """Keep a message until its client can take it, in the place of an older one of its kind."""
        if self._waiting.pop((client, type(message)), None) is not None:
            self.superseded += 1
        self._waiting[client, type(message)] = message

    def waits_for(self, client: bytes) -> bool:
        """Say whether anything waits for a client."""
        return any(waiting == client for waiting, _ in self._waiting)

    def take(self) -> list[tuple[bytes, Message]]:
        """Return everything that waits, the oldest first, and keep nothing."""
        taken, self._waiting = self._waiting, {}
        return [(client, message) for (client, _), message in taken.items()]

    def forget(self, client: bytes) -> None:
        """Drop what waits for a client that is gone."""
        for key in [key for key in self._waiting if key[0] == client]:
            del self._waiting[key]

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self._waiting)
