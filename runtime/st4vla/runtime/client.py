"""A client of the server, for a control loop that never waits."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

import zmq
from msgspec.structs import replace
from typing_extensions import Self

from st4vla.contracts.clock import ClockOffset, ClockOffsetEstimator, monotonic_ns
from st4vla.contracts.errors import ServerUnreachableError, TransportError
from st4vla.contracts.messages import ActionChunk, Goodbye, Hello, Message, Observation, Welcome
from st4vla.contracts.wire import decode, encode
from st4vla.runtime.curve import ClientKeys
from st4vla.runtime.handshakes import Greeting
from st4vla.runtime.liveness import LIVENESS

#: A server that is gone is called again and again.
CONNECT_TIMEOUT_MS, RECONNECT_MS, RECONNECT_MAX_MS = 450, 20, 100


class Client:
    """Send observations and collect what comes back, both without blocking.

    Args:
        endpoint: ZeroMQ address of the server, for example ``tcp://127.0.0.1:5555``.
        keys: This client's own and the server's, for a server that lets in only those it knows.

    Raises:
        TransportError: The address cannot be understood.
    """

    def __init__(self, endpoint: str, keys: ClientKeys | None = None) -> None:
        self.endpoint = endpoint
        self._clock = ClockOffsetEstimator()
        self._held_chunk_id = self._held_received_ns = 0
        self._sequence = itertools.count(1)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        options: tuple[tuple[int, int | bytes], ...] = (
            (zmq.LINGER, 100),
            # One message waits at most: while a server is away, frames are dropped here instead of growing stale.
            (zmq.SNDHWM, 1),
            (zmq.RCVHWM, 1),
            (zmq.SNDBUF, 512 * 1024),
            *LIVENESS,
            (zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS),
            (zmq.RECONNECT_IVL, RECONNECT_MS),
            (zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS),
            # Nobody else has this name, and a server knows by it the client that comes back.
            (zmq.ROUTING_ID, b"c" + os.urandom(16)),
        )
        for option, value in options:
            self._socket.setsockopt(option, value)
        if keys is not None:
            keys.secure(self._socket)
        self._greeting = Greeting(self._socket, keys)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._greeting.close()
            self._context.destroy(linger=0)
            msg = f"cannot connect to {endpoint!r}: {error}; an address looks like tcp://127.0.0.1:5555"
            raise TransportError(msg) from error

    def hello(self, timeout_s: float = 5.0) -> Welcome:
        """Ask what is served, again and again until an answer comes.

        Raises:
            ServerUnreachableError: None came in time.
        """
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            self.greet()
            if self._socket.poll(int(min(left_s, 0.25) * 1000) + 1):
                for message in self.receive():
                    if isinstance(message, Welcome):
                        return message
        msg = f"no server answered at {self.endpoint} within {timeout_s:g} s; {self._greeting.advice()}"
        raise ServerUnreachableError(msg)

    def greet(self) -> None:
        """Ask what is served, without waiting for the `Welcome`; a full socket drops the question."""
        with suppress(zmq.Again):
            self._socket.send(encode(Hello(next(self._sequence))), zmq.NOBLOCK)

    def send(self, observation: Observation) -> bool:
        """Send an observation with a sequence of this client's; False when the socket is full and it was dropped.

        What the client holds is filled in.
        """
        held = replace(observation, held_chunk_id=self._held_chunk_id, held_received_ns=self._held_received_ns)
        try:
            self._socket.send(encode(held), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def next_sequence(self) -> int:
        """Return the sequence of the next message."""
        return next(self._sequence)

    def receive(self, timeout_s: float = 0.0) -> Iterator[Message]:
        """Yield the messages that have arrived, waiting up to `timeout_s` for the first.

        Raises:
            WireError: The server sent what cannot be decoded.
        """
        # A socket that waits by itself wakes sooner than one that is polled first.
        self._socket.setsockopt(zmq.RCVTIMEO, max(round(timeout_s * 1000), 0))
        flags, first = 0, True
        while True:
            try:
                frame = self._socket.recv(flags)
            except zmq.Again:
                if first:
                    self._greeting.update()
                return
            received_ns = monotonic_ns()
            flags, first = zmq.NOBLOCK, False
            message = decode(frame)
            if isinstance(message, ActionChunk):
                self._learn(message, received_ns)
            yield message

    def _learn(self, chunk: ActionChunk, received_ns: int) -> None:
        self._held_chunk_id, self._held_received_ns = chunk.chunk_id, received_ns
        # Times that cannot be true are the server's affair; they must not end a control loop.
        with suppress(ValueError):
            self._clock.add(
                sent_ns=chunk.observation_sent_ns,
                peer_received_ns=chunk.received_ns,
                peer_replied_ns=chunk.sent_ns,
                received_ns=received_ns,
            )

    @property
    def clock_offset(self) -> ClockOffset | None:
        """What to add to this machine's clock to get the server's, or None before the first chunk."""
        return self._clock.estimate

    def close(self) -> None:
        """Tell the server that this client leaves, and close the socket."""
        if self._socket.closed:
            return
        with suppress(zmq.Again):
            self._socket.send(encode(Goodbye(), next(self._sequence)), zmq.NOBLOCK)
        self._greeting.close()
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
