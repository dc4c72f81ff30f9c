"""The supervisor's socket: what agents and the command line ask of it, each in a thread of its own."""

from __future__ import annotations

import logging
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Protocol

from st4vla.contracts.device_status import DeviceStatus, Outcome
from st4vla.contracts.errors import DeviceBusyError, FlashError, St4vlaError
from st4vla.contracts.flash_messages import (
    PROTOCOL,
    Answer,
    Ask,
    Cancel,
    Finished,
    Hello,
    Install,
    Progress,
    Refused,
    Request,
    Rollback,
    Told,
    Watch,
    Welcome,
    decode_request,
)
from st4vla.runtime.flashing.flash import Flash
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.message_stream import MessageStream, listen

LOG = logging.getLogger(__name__)
#: Who may be connected at once, and who may wait for that.
MAX_CONNECTIONS, BACKLOG = 32, 16
#: How long somebody who reads nothing is written to.
SEND_S = 10.0
#: How often one that watches is looked at, whether it is still there, and how soon it hears the last word again when
#: there is no new one: a large engine takes long, and a link that is silent may be broken.
LOOK_S, AGAIN_S = 0.5, 30.0


class Supervises(Protocol):
    """What the socket needs of a supervisor; see `Supervisor`."""

    def install(self, digest: str) -> Flash:
        """Begin a flash, or join it."""
        ...

    def dry_run(self, digest: str) -> Outcome:
        """Say what a flash would do."""
        ...

    def watch(self) -> Flash | Outcome | None:
        """Return what runs, or how the last one ended."""
        ...

    def cancel(self) -> Flash:
        """End what runs."""
        ...

    def roll_back(self) -> Flash:
        """Go back to the other slot."""
        ...


class Control:
    """Answer on a supervisor's socket, from `start` to `close`.

    Args:
        layout: Where the socket is.
        supervisor: Who decides.
        status: Returns how the device is.
    """

    def __init__(self, layout: Layout, supervisor: Supervises, status: Callable[[], DeviceStatus]) -> None:
        self._layout, self._supervisor, self._status = layout, supervisor, status
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Listen.

        Raises:
            TransportError: The socket cannot be made.
        """
        self._listener = listen(self._layout.control, BACKLOG)
        threading.Thread(target=self._accept, args=(self._listener,), name="st4vla_control", daemon=True).start()

    def close(self) -> None:
        """Hang up on everybody; flashes do not end by that."""
        if self._listener is not None:
            self._layout.control.unlink(missing_ok=True)
            _hang_up(self._listener)
            self._listener.close()
        with self._lock:
            for link in self._open:
                _hang_up(link)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            # Somebody who does not read ends a thread after a while, and holds up nobody else.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(SEND_S), 0))
            with self._lock:
                crowded = len(self._open) >= MAX_CONNECTIONS
                if not crowded:
                    self._open.add(link)
            if crowded:
                busy = DeviceBusyError(f"{MAX_CONNECTIONS} others are connected to this device; try again in a moment")
                MessageStream(link.fileno(), link.fileno()).send(_refused(busy))
                link.close()
                continue
            threading.Thread(target=self._serve, args=(link,), name="st4vla_control_link", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        stream = MessageStream(link.fileno(), link.fileno())
        try:
            while (body := stream.receive()) is not None:
                if not self._answer(decode_request(body), stream, link):
                    break
        except St4vlaError as error:
            stream.send(_refused(error))
        except Exception:
            LOG.exception("a link to the supervisor failed")
        finally:
            with self._lock:
                self._open.discard(link)
            link.close()

    def _answer(self, request: Request, stream: MessageStream, link: socket.socket) -> bool:
        """Answer one request; False when nobody is there any more."""
        try:
            if isinstance(request, Hello):
                return stream.send(Welcome(PROTOCOL, self._status()))
            if isinstance(request, Ask):
                return stream.send(Told(self._status()))
            if isinstance(request, Install) and request.dry_run:
                return self._finished(self._supervisor.dry_run(request.digest), stream)
            return self._tell(self._begin(request), stream, link)
        except St4vlaError as error:
            return stream.send(_refused(error))

    def _begin(self, request: Request) -> Flash | Outcome:
        if isinstance(request, Install):
            return self._supervisor.install(request.digest)
        if isinstance(request, Cancel):
            return self._supervisor.cancel()
        if isinstance(request, Rollback):
            return self._supervisor.roll_back()
        if isinstance(request, Watch):
            found = self._supervisor.watch()
            if found is None:
                msg = "nothing was flashed to this device yet"
                raise FlashError(msg)
            return found
        msg = f"the supervisor takes no {type(request).__name__}; `st4vla device agent` does"
        raise FlashError(msg)

    def _tell(self, followed: Flash | Outcome, stream: MessageStream, link: socket.socket) -> bool:
        """Tell how a flash goes until it has ended, or whoever listens is gone."""
        if isinstance(followed, Outcome):
            return self._finished(followed, stream)
        seen, outcome, last = 0, None, Progress(followed.step)
        looked = sent = time.monotonic()
        while outcome is None:
            said, seen, outcome = followed.follow(seen, LOOK_S)
            if not said and time.monotonic() - sent > AGAIN_S:
                said = [last]
            for progress in said:
                last, sent = progress, time.monotonic()
                if not stream.send(progress):
                    return False
            if time.monotonic() - looked > LOOK_S:
                looked = time.monotonic()
                if _is_gone(link):
                    return False
        return self._finished(outcome, stream)

    def _finished(self, outcome: Outcome, stream: MessageStream) -> bool:
        return stream.send(Finished(outcome, self._status()))


def _refused(error: Exception) -> Answer:
    return Refused("receive", type(error).__name__, str(error))


def _is_gone(link: socket.socket) -> bool:
    """Say whether the other side has hung up; what it says meanwhile waits."""
    ready, _, _ = select.select([link], [], [], 0)
    try:
        return bool(ready) and link.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except OSError:
        return True


def _hang_up(link: socket.socket) -> None:
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:
        LOG.debug("a link was gone already")
