"""`st4vla device agent`: a flashing host's end on the device, over standard input and output.

It takes objects in by itself, and hands what concerns flashes on to the supervisor. It holds nothing that a cut link
could lose: objects that are on their way stay, and a flash is the supervisor's. One that finds no supervisor still says
how the device is and takes objects.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from st4vla.contracts.errors import FileAlteredError, FlashError, St4vlaError, TransportError
from st4vla.contracts.flash_messages import (
    PROTOCOL,
    Answer,
    Ask,
    Cancel,
    Data,
    Finished,
    Hello,
    Install,
    Offer,
    Progress,
    Refused,
    Request,
    Rollback,
    Stored,
    Told,
    Trust,
    Wanted,
    Watch,
    Welcome,
    decode_answer,
    decode_request,
)
from st4vla.runtime.flashing.config import DeviceConfig, read_config
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.message_stream import MessageStream, connect

if TYPE_CHECKING:
    import socket

    from st4vla.contracts.device_status import DeviceStatus

#: What the supervisor answers, and what it can be done without.
SUPERVISORS = (Hello, Ask, Install, Watch, Cancel, Rollback)


class Agent:
    """Answer one host until it hangs up.

    Args:
        layout: The device's files.
        host: The way to the host.
    """

    def __init__(self, layout: Layout, host: MessageStream) -> None:
        self._layout, self._host = layout, host
        self._intake: _Intake | None = None
        self._following: threading.Thread | None = None

    def run(self) -> None:
        """Answer until the host hangs up."""
        try:
            while (body := self._host.receive()) is not None:
                if not self._take(decode_request(body)):
                    return
        except St4vlaError as error:
            # What is not of this protocol, or of another version of it: nothing after it can be understood.
            self._host.send(_refused(error))

    def _take(self, request: Request) -> bool:
        """Answer one request; False when nobody is there any more."""
        try:
            if isinstance(request, Data):
                return self._receive(request)
            if isinstance(request, Offer):
                wanted = self._open_intake().offer(request)
                return self._host.send(wanted)
            if isinstance(request, Trust):
                return self._trust(request)
            return self._ask_supervisor(request)
        except St4vlaError as error:
            return self._host.send(_refused(error))

    def _receive(self, data: Data) -> bool:
        stored = self._open_intake().receive(data)
        return stored is None or self._host.send(stored)

    def _open_intake(self) -> _Intake:
        if self._intake is None:
            self._intake = _Intake(self._layout, read_config(self._layout.config))
        return self._intake

    def _trust(self, request: Trust) -> bool:
        from st4vla.runtime.flashing.trusting import take_trust  # noqa: PLC0415 - it loads what knows keys

        if not self._layout.trust.exists():
            msg = "this device trusts nobody yet; put its first list there by hand with `st4vla device init`"
            raise FlashError(msg)
        take_trust(self._layout, request.envelope)
        return self._ask_supervisor(Ask())

    def _ask_supervisor(self, request: Request) -> bool:
        following = self._following is not None and self._following.is_alive()
        if following and isinstance(request, Cancel):
            # Its outcome comes to the one who follows; here only a refusal is of interest.
            return self._pass_on(request, quiet=True)
        if following and self._following is not None:
            # One thing at a time.
            self._following.join()
        try:
            link = connect(self._layout.control)
        except TransportError:
            return self._do_without(request)
        if isinstance(request, Install | Watch | Rollback):
            # What takes long is followed by a thread, so that a cut link, and a cancellation, are noticed here.
            self._following = threading.Thread(target=self._relay, args=(link, request), daemon=True)
            self._following.start()
            return True
        return self._relay(link, request)

    def _pass_on(self, request: Request, *, quiet: bool) -> bool:
        return self._relay(connect(self._layout.control), request, quiet=quiet)

    def _relay(self, link: socket.socket, request: Request, *, quiet: bool = False) -> bool:
        """Hand a request on, and its answers back, up to the one that ends it."""
        with link:
            stream = MessageStream(link.fileno(), link.fileno())
            stream.send(request)
            while (body := stream.receive()) is not None:
                answer = decode_answer(body)
                told = quiet and not isinstance(answer, Refused)
                if not told and not self._host.send(answer):
                    return False
                if not isinstance(answer, Progress):
                    return True
        msg = "the supervisor ended; when it runs again, `watch` tells how the flash went on"
        return self._host.send(_refused(TransportError(msg)))

    def _do_without(self, request: Request) -> bool:
        """Answer what can be answered while no supervisor runs."""
        if isinstance(request, Hello):
            return self._host.send(Welcome(PROTOCOL, self._status()))
        if isinstance(request, Ask):
            return self._host.send(Told(self._status()))
        status = self._status()
        if isinstance(request, Watch) and status.last is not None and status.trial is None:
            return self._host.send(Finished(status.last, status))
        # Says how to start one.
        connect(self._layout.control).close()
        return self._take(request)

    def _status(self) -> DeviceStatus:
        from st4vla.runtime.flashing.status import device_status  # noqa: PLC0415 - it takes its time to load

        return device_status(self._layout, read_config(self._layout.config))


class _Intake:
    """Offers, and the objects that arrive for them."""

    def __init__(self, layout: Layout, config: DeviceConfig) -> None:
        from st4vla.runtime.flashing.offers import Offers  # noqa: PLC0415 - not before it is needed
        from st4vla.runtime.flashing.store import Store  # noqa: PLC0415

        self._offers, self._store = Offers(layout), Store(layout, config.preflight.disk_reserve_bytes)
        self._sizes: dict[str, int] = {}
        self._refused: set[str] = set()

    def offer(self, offer: Offer) -> Wanted:
        """Verify an offer, and say what of it is missing."""
        taken = self._offers.take(offer.manifest, offer.release)
        self._expect({entry.sha256: entry.size for entry in taken.manifest.files.values()})
        return Wanted(taken.digest, self._store.missing(taken.manifest.files))

    def receive(self, data: Data) -> Answer | None:
        """Take bytes of an object in; the answer when it is whole, or turned out not to be what it should.

        After a refusal, what is on its way of that object is let pass: one refusal is enough.
        """
        if data.sha256 in self._refused:
            return None
        size = self._sizes.get(data.sha256)
        try:
            if size is None:
                msg = f"object {data.sha256[:12]} belongs to no bundle that was offered; offer it first"
                raise TransportError(msg)
            whole = self._store.receive(data.sha256, size, data.offset, data.data)
        except FileAlteredError:
            return Stored(data.sha256, ok=False)
        except St4vlaError as error:
            self._refused.add(data.sha256)
            return _refused(error)
        return Stored(data.sha256) if whole else None

    def _expect(self, sizes: Mapping[str, int]) -> None:
        self._sizes.update(sizes)
        self._refused.clear()


def _refused(error: Exception) -> Refused:
    return Refused("receive", type(error).__name__, str(error))
