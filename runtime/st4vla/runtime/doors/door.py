"""What a door needs of the server, and what a server needs of a door."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from st4vla.contracts.errors import PortInUseError
from st4vla.contracts.messages import ErrorReply, Message, Observation, Welcome
from st4vla.runtime.policy import PolicyInfo

#: How soon an address that is to become free is tried again.
AGAIN_S = 0.01
#: Takes what the core has to say about an observation; must not block, and may be called from any thread.
Deliver = Callable[[Message], None]


class Core(Protocol):
    """The server without its socket: observations in, chunks out.

    Attributes:
        info: What is served.
    """

    info: PolicyInfo

    def welcome(self) -> Welcome:
        """Say what is served, as of now."""
        ...

    def submit(self, client: bytes, observation: Observation, received_ns: int, deliver: Deliver) -> ErrorReply | None:
        """Take one client's newest observation.

        Args:
            client: Whose it is; a client that is not known yet gets a place.
            observation: Its views may be of the wrong names or sizes.
            received_ns: When it arrived, on this machine's clock.
            deliver: Called later, from another thread, with the `ActionChunk` or the `ErrorReply` to this observation,
                and with `Plan` notices. The reply names the observation's sequence.

        Returns:
            Why it was refused, or None when an answer will be delivered.
        """
        ...

    def leave(self, client: bytes) -> None:
        """Forget a client: its plan, its frame and its place; one that is not known is no error."""
        ...


class Door(Protocol):
    """One protocol on one address.

    Attributes:
        name: Whose protocol it is.
        address: Where it listens, for example ``ws://127.0.0.1:8000``; with the port it was given, once it started.
        counts: What came and went.
    """

    name: str
    address: str
    counts: Counter[str]

    @property
    def is_open(self) -> bool:
        """Whether its thread runs."""
        ...

    def start(self) -> None:
        """Listen, and answer from a thread of its own.

        Raises:
            PortInUseError: Somebody else listens there.
            TransportError: The address is not one that this machine can listen on.
        """
        ...

    def stop(self) -> None:
        """Turn the clients away and free the address; returns within seconds, whatever the clients do."""
        ...


def start_patiently(door: Door, patience_s: float) -> None:
    """Start a door, and wait so long for an address that somebody is about to leave.

    Raises:
        TransportError: The address cannot be listened on.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            door.start()
        except PortInUseError:
            if time.monotonic() >= until:
                raise
            time.sleep(AGAIN_S)
        else:
            return
