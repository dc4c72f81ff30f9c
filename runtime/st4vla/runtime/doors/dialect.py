"""What one foreign protocol says and understands, without any socket: bytes in, requests out, and back.

A socket side (`websocket_door`, `router_door`) carries any dialect; a dialect knows no connection. One request may hold
several rows, since some clients step several simulators at once and send what all of them see in one message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from st4vla.contracts.messages import ActionChunk, View
from st4vla.contracts.wire_decoders import Buffer

#: Rows of one request.
MAX_ROWS = 16


@dataclass(frozen=True)
class Row:
    """What one robot or simulator sees and is told: its views in the bundle's order and sizes, and the instruction."""

    views: tuple[View, ...]
    instruction: str


@dataclass(frozen=True)
class Request:
    """One message of a client, understood.

    Attributes:
        rows: What to make chunks of; empty for a message that the dialect answers itself.
        answer: What to send at once when there are no rows; text where the protocol sends errors as text.
        reset: A new episode begins: nothing that was planned before may be acted on.
        context: What the dialect needs to answer this message in its own form.
    """

    rows: tuple[Row, ...] = ()
    answer: bytes | str = b""
    reset: bool = False
    context: Any = None


class Dialect(Protocol):
    """A protocol's bytes.

    Attributes:
        name: As the ``--door`` option calls it.
    """

    name: str

    def greeting(self) -> bytes:
        """Return what a client is told when it connects, for protocols that begin so."""
        ...

    def read(self, data: Buffer, received_ns: int) -> Request:
        """Understand one message that arrived at `received_ns`; what does not fit the bundle becomes an answer.

        Raises:
            MalformedMessageError: The bytes are not this protocol.
        """
        ...

    def reply(self, request: Request, chunks: Sequence[ActionChunk], elapsed_ns: int) -> bytes:
        """Return the answer to a request from one chunk per row, `elapsed_ns` after it arrived."""
        ...

    def refusal(self, text: str, context: Any = None) -> bytes | str:
        """Return a sentence as this protocol sends its errors."""
        ...
