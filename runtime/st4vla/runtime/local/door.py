"""The door for clients on the same machine: our own messages, without a network in between.

A Unix socket of packets carries what is short, and pictures lie in memory that their client shares (`memory`). Who may
come in is what the file system says of the socket: its owner and root. A client is one connection; when that ends, its
place is free.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import PortInUseError, TransportError
from st4vla.contracts.messages import Message
from st4vla.runtime.answering import answer
from st4vla.runtime.core import Core
from st4vla.runtime.doors.door import start_patiently
from st4vla.runtime.local.guest import Guest

#: What the firmware bridge's endpoints of this kind begin with.
SCHEME = "local:"
POLL_MS, RETRY_MS, STOP_S = 100, 2, 10.0
BACKLOG = 16
#: Packets of one client that are taken in before it is another's turn.
PACKETS_A_TURN = 16
#: More than any robot has; further ones are hung up on.
MAX_GUESTS = 32


class LocalDoor:
    """Serve a core to clients on this machine.

    Args:
        core: What answers; started and stopped by somebody else.
        path: Of the socket, which is made; one that a dead server left is replaced.

    Attributes:
        name: ``local``.
        address: As the firmware bridge takes it for its endpoint.
        counts: Clients that came, and those that were turned away.
    """

    def __init__(self, core: Core, path: Path) -> None:
        self._core, self._path = core, path.absolute()
        self.name, self.address = "local", f"{SCHEME}{self._path}"
        self.counts: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._guests: dict[int, Guest] = {}
        self._poller = select.poll()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stop = threading.Event()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and answer from a thread of its own.

        Raises:
            PortInUseError: Another server listens there.
            TransportError: No socket can be made there.
        """
        self._listener = listen(self._path)
        self._thread = threading.Thread(
            target=self._serve, args=(self._listener,), name="st4vla_local_door", daemon=True
        )
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Hang up on all clients and take the socket away."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread is not None:
            self._wake()
            self._thread.join(STOP_S)
        if self._listener is not None:
            # The name first: once nobody listens, a successor may have made a socket of the same name.
            with suppress(OSError):
                self._path.unlink()
            self._listener.close()
        os.close(self._event)

    def _serve(self, listener: socket.socket) -> None:
        for descriptor in (listener.fileno(), self._event):
            self._poller.register(descriptor, select.POLLIN)
        while not self._stop.is_set():
            behind = any(guest.is_behind for guest in self._guests.values())
            for descriptor, _ in self._poller.poll(RETRY_MS if behind else POLL_MS):
                if descriptor == listener.fileno():
                    self._let_in(listener)
                elif descriptor in self._guests:
                    self._take_some(self._guests[descriptor])
            with suppress(BlockingIOError):
                os.eventfd_read(self._event)
            for guest in self._guests.values():
                guest.retry()
        for guest in tuple(self._guests.values()):
            self._let_go(guest)

    def _let_in(self, listener: socket.socket) -> None:
        with suppress(OSError):
            stream, _ = listener.accept()
            if len(self._guests) >= MAX_GUESTS:
                self.counts["clients_turned_away"] += 1
                stream.close()
                return
            self.counts["clients"] += 1
            name = f"{SCHEME}{next(self._numbers)}".encode()
            guest = Guest(name, stream, self._core.counts, copies=self._core.is_recorded)
            self._guests[stream.fileno()] = guest
            self._poller.register(stream, select.POLLIN)

    def _let_go(self, guest: Guest) -> None:
        self._poller.unregister(guest.stream)
        del self._guests[guest.stream.fileno()]
        guest.close()
        self._core.leave(guest.name)

    def _take_some(self, guest: Guest) -> None:
        for _ in range(PACKETS_A_TURN):
            try:
                packet = guest.receive()
            except EOFError:
                self._let_go(guest)
                return
            if packet is None:
                return
            reply = answer(
                self._core, guest.name, partial(guest.read, packet), monotonic_ns(), partial(self._send, guest)
            )
            if reply is not None:
                self._send(guest, reply)

    def _send(self, guest: Guest, message: Message) -> None:
        guest.send(message)
        if guest.is_behind:
            self._wake()

    def _wake(self) -> None:
        # One that is closed has nobody to wake.
        with suppress(OSError):
            os.eventfd_write(self._event, 1)


@contextmanager
def open_local(core: Core, path: Path | None, patience_s: float = 0.0) -> Iterator[list[LocalDoor]]:
    """Open the door at a path, or none without one, and close it in the end.

    Args:
        core: Who answers.
        path: Where.
        patience_s: How long to wait for a path that somebody is about to leave.

    Raises:
        TransportError: No socket can be made there, or another server listens there.
    """
    if path is None:
        yield []
        return
    door = LocalDoor(core, path)
    start_patiently(door, patience_s)
    try:
        yield [door]
    finally:
        door.stop()


def listen(path: Path) -> socket.socket:
    """Return a socket of packets that listens at a path, for its owner alone.

    Raises:
        PortInUseError: Another server listens there.
        TransportError: No socket can be made there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        _remove_left_over(path)
        listener.bind(str(path))
        # Nobody can connect until it listens.
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            msg = f"{path} is in use by another process, or is no socket; stop it, or choose another path with --local"
            raise PortInUseError(msg) from error
        msg = f"cannot listen on {SCHEME}{path}: {error}; choose a path in a folder that can be written, of 107 bytes"
        raise TransportError(msg) from error
    return listener


def _remove_left_over(path: Path) -> None:
    """Remove a socket that nobody listens on any more."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
        caller.setblocking(False)
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError:
            # Somebody listens there, whatever it is.
            return
