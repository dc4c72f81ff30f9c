"""The ZeroMQ server: one thread takes messages in, and whoever has an answer sends it.

A socket is used by one thread at a time, under a lock; waiting for messages happens outside of it, on the socket's
descriptor. An answer thus leaves without another thread having to wake up for it. A bad message gets an error reply and
a count and never ends the thread.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import threading
from contextlib import suppress
from functools import partial

import zmq

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import PortInUseError, TransportError, TruncatedMessageError
from st4vla.contracts.messages import Message
from st4vla.contracts.wire import decode, encode
from st4vla.runtime.answering import MAX_MESSAGE_BYTES, answer
from st4vla.runtime.core import Core
from st4vla.runtime.curve import ServerKeys
from st4vla.runtime.diagnosis import thread_check
from st4vla.runtime.gate import Gate, open_gate
from st4vla.runtime.liveness import LIVENESS
from st4vla.runtime.outbox import Outbox
from st4vla.runtime.safe_bind import require_safe_bind

POLL_MS = 100
#: How soon a thread that waits for the interpreter gets it, in a process that serves: System 1 must not wait for what
#: System 2 does in Python.
SWITCH_INTERVAL_S = 0.0005
#: How long a server that stops tries to deliver its last replies.
LINGER_MS = 200
#: The same for one that hands its address over: whoever takes it over waits for that.
HAND_OVER_LINGER_MS = 10
#: How soon a client that could not take a message is tried again.
RETRY_MS = 2
#: How many messages are taken in before the thread looks up.
MESSAGES_A_TURN = 64
#: Names this door's clients apart from those of other doors.
PREFIX = b"zmq:"


class Server:
    """Serve a core over ZeroMQ.

    Args:
        core: What answers; started and stopped with the server.
        endpoint: ZeroMQ address to listen on; a port of ``*`` takes a free one.
        keys: Its own keys and whom it lets in; without any, everybody on this machine, and nobody else.

    Attributes:
        endpoint: The address that it listens on, once started.
    """

    def __init__(self, core: Core, endpoint: str, keys: ServerKeys | None = None) -> None:
        self.core = core
        self._wanted = endpoint
        self._keys = keys
        self._gate = Gate()
        self.endpoint = ""
        self._context = zmq.Context()
        self._lock = threading.Lock()
        self._router: zmq.Socket[bytes] | None = None
        self._outbox = Outbox()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stop = threading.Event()
        self._stopped = False
        self._sequence = itertools.count(1)
        self._wire: threading.Thread | None = None

    def start(self) -> None:
        """Bind, then start the systems and the wire.

        Raises:
            UnsafeBindError: Other machines can reach the address, and there are no keys.
            PortInUseError: Somebody else listens there.
            TransportError: The address is not one that this machine can listen on.
        """
        require_safe_bind(self._wanted, self._keys)
        self._router = self._bound()
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        self._wire = threading.Thread(target=self._serve, args=(self._router,), name="st4vla_wire", daemon=True)
        self._wire.start()
        self.core.diagnosis.watch("wire_ended", thread_check(self._wire), vital=True)
        self.core.start()

    def stop(self) -> None:
        """Stop all threads and free the address. Waits for a running engine call to end, whose answer is sent still."""
        if self._stopped:
            return
        self._stopped = True
        self.core.stop()
        self._free_address(LINGER_MS)
        os.close(self._event)

    def hand_over(self) -> None:
        """Free the address at once, for another process; `stop` does the rest.

        A running engine call is not waited for, and its answer is not sent.
        """
        self._free_address(HAND_OVER_LINGER_MS)

    def _free_address(self, linger_ms: int) -> None:
        self._stop.set()
        if self._wire is not None:
            self._wake()
            self._wire.join()
        with self._lock:
            self._gate.close()
            if self._router is not None:
                self._router.close(linger_ms)
                self._router = None
        self._context.destroy(linger=0)

    def _bound(self) -> zmq.Socket[bytes]:
        router = self._context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, LINGER_MS),
            # Nothing queues up: what a client does not take is replaced by what is newer, here.
            (zmq.SNDHWM, 1),
            (zmq.RCVHWM, 1),
            # Replies are small: a kernel's usual buffer would keep seconds of them for a client that does not read.
            (zmq.SNDBUF, 32 * 1024),
            (zmq.ROUTER_MANDATORY, 1),
            # A client that comes back is the one that it was.
            (zmq.ROUTER_HANDOVER, 1),
            *LIVENESS,
            # libzmq holds so much for a stranger before it has said who it is.
            (zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES),
        ):
            router.setsockopt(option, value)
        self._gate = open_gate(self._keys, router, lambda name: self.core.counts.update([name]))
        try:
            router.bind(self._wanted)
        except zmq.ZMQError as error:
            self._gate.close()
            router.close()
            if error.errno == errno.EADDRINUSE:
                msg = f"{self._wanted} is in use by another process; stop it, or choose another address with --bind"
                raise PortInUseError(msg) from error
            msg = f"cannot listen on {self._wanted}: {error}; an address looks like tcp://127.0.0.1:5555"
            raise TransportError(msg) from error
        return router

    def _serve(self, router: zmq.Socket[bytes]) -> None:
        poller = select.poll()
        for descriptor in (int(router.getsockopt(zmq.FD)), self._event):
            poller.register(descriptor, select.POLLIN)
        while not self._stop.is_set():
            # The descriptor tells of news once: all of it is taken before waiting again, but not without looking up.
            more = self._take_some(router)
            poller.poll(0 if more else RETRY_MS if self._outbox else POLL_MS)
            with suppress(BlockingIOError):
                os.eventfd_read(self._event)
            self._evict()
            if self._outbox:
                self._retry()

    def _take_some(self, router: zmq.Socket[bytes]) -> bool:
        """Take in what has come, and say whether there may be more: a flood must not hold up everything else."""
        for _ in range(MESSAGES_A_TURN):
            received = self._take(router)
            if received is None:
                return False
            self._receive(*received)
        return True

    def _take(self, router: zmq.Socket[bytes]) -> tuple[bytes, list[zmq.Frame]] | None:
        while True:
            with self._lock:
                # Asked before it is tried: an exception takes as long as a message.
                if not int(router.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                    return None
                try:
                    address, *frames = router.recv_multipart(zmq.NOBLOCK, copy=False)
                except zmq.Again:
                    return None
                if self._gate.lets_in(address):
                    return address.bytes, frames

    def _evict(self) -> None:
        """Let those go whose keys are not allowed any more."""
        with self._lock:
            gone = self._gate.evicted()
            for client in gone:
                self._outbox.forget(client)
        for client in gone:
            self.core.leave(PREFIX + client)

    def _receive(self, client: bytes, frames: list[zmq.Frame]) -> None:
        """Take one message in and answer what can be answered at once."""
        received_ns = monotonic_ns()

        def read() -> Message:
            if len(frames) != 1:
                msg = f"a message of {len(frames)} parts; one frame carries one message"
                raise TruncatedMessageError(msg)
            return decode(frames[0].buffer)

        reply = answer(self.core, PREFIX + client, read, received_ns, partial(self._send, client))
        if reply is not None:
            self._send(client, reply)

    def _send(self, client: bytes, message: Message) -> None:
        """Send a message, or keep it while its client cannot take it; never blocks."""
        with self._lock:
            if self._outbox and self._outbox.waits_for(client):
                self._keep(client, message)
            elif self._router is not None:
                self._send_now(self._router, client, message)
                # A socket that was used may have taken the descriptor's news away from the thread that waits for it.
                if int(self._router.getsockopt(zmq.EVENTS)) & zmq.POLLIN or self._outbox:
                    self._wake()

    def _send_now(self, router: zmq.Socket[bytes], client: bytes, message: Message) -> None:
        if not self._gate.may_answer(client):
            self.core.counts["replies_dropped"] += 1
            return
        frame = encode(message, next(self._sequence))
        try:
            router.send_multipart([client, frame], flags=zmq.NOBLOCK)
        except zmq.Again:
            self._keep(client, message)
        except zmq.ZMQError:
            # Nobody has this address any more.
            self.core.counts["replies_dropped"] += 1
            self._outbox.forget(client)
            self.core.leave(PREFIX + client)

    def _keep(self, client: bytes, message: Message) -> None:
        superseded = self._outbox.superseded
        self._outbox.put(client, message)
        if self._outbox.superseded > superseded:
            self.core.counts["replies_superseded"] += 1

    def _retry(self) -> None:
        with self._lock:
            for client, message in self._outbox.take():
                if self._router is not None:
                    self._send_now(self._router, client, message)

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_write(self._event, 1)
