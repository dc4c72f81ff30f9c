"""Objects on their way to one device: sent without waiting, while the device says which of them have arrived."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from st4vla.contracts.errors import FileAlteredError, FileMissingError, TransportError
from st4vla.contracts.flash_messages import Refused, Stored, Wanted, WantedObject
from st4vla.export.flashing.link import Link
from st4vla.export.flashing.payload import Payload
from st4vla.export.flashing.rate import RateLimit
from st4vla.export.flashing.refusal import RefusedError

#: How often an object is sent whose bytes arrive altered; SSH lets none through, so it is a disk, at one of the ends.
SENDINGS = 2


class Upload:
    """What a device wants of a bundle, on its way there.

    Attributes:
        total: Bytes of all that is missing.
        done: Bytes of it that were handed to `ssh`.
        arrived: Objects that are whole, and on the device's disk.
    """

    def __init__(self, link: Link, payload: Payload, wanted: Wanted, limit: RateLimit) -> None:
        """Check what the device wants.

        Raises:
            TransportError: It wants what the bundle has not.
        """
        self._link, self._payload, self._limit = link, payload, limit
        for one in wanted.objects:
            _require_ours(payload, one)
        self._wanted = {one.sha256: one for one in wanted.objects}
        self._queue: asyncio.Queue[WantedObject] = asyncio.Queue()
        for one in wanted.objects:
            self._queue.put_nowait(one)
        self._sendings: Counter[str] = Counter()
        self.total = sum(one.size - one.offset for one in wanted.objects)
        self.done = 0
        self.arrived = 0

    async def run(self, told: Callable[[], None], silence_s: float) -> None:
        """Send everything, and return when the device has all of it on its disk.

        Args:
            told: Called after each block and each object.
            silence_s: How long the link may stand still.

        Raises:
            RefusedError: The device takes no more.
            FileAlteredError: A file changed while it was sent.
            LinkError: The link was cut.
        """
        sender = asyncio.ensure_future(self._send(told))
        receiver = asyncio.ensure_future(self._receive(told, silence_s))
        try:
            await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
            if sender.done():
                # Only an error ends it, and a broken pipe, whose reason the receiver finds out.
                sender.result()
            await receiver
        finally:
            for task in (sender, receiver):
                task.cancel()
            await asyncio.gather(sender, receiver, return_exceptions=True)

    async def _send(self, told: Callable[[], None]) -> None:
        try:
            while True:
                await self._send_object(await self._queue.get(), told)
        except BrokenPipeError:
            return
        except OSError as error:
            msg = f"{error.filename or 'a file of the bundle'} cannot be read any more: {error.strerror}"
            raise FileMissingError(msg) from error

    async def _send_object(self, wanted: WantedObject, told: Callable[[], None]) -> None:
        path, size = self._payload.path(wanted.sha256)
        self._sendings[wanted.sha256] += 1
        offset = wanted.offset
        with path.open("rb", buffering=0) as stream:
            while True:
                block = min(self._limit.block_bytes, size - offset)
                await self._limit.take(block)
                # An empty file travels too, as one message without bytes.
                there = await self._link.send_data(stream.fileno(), wanted.sha256, offset, block)
                if there < block:
                    msg = f"{path} was altered while it was sent: it ends after {offset + there} bytes"
                    raise FileAlteredError(msg)
                offset += block
                self.done += block
                told()
                if offset == size:
                    return

    async def _receive(self, told: Callable[[], None], silence_s: float) -> None:
        while self.arrived < len(self._wanted):
            answer = await self._link.receive(silence_s)
            if isinstance(answer, Refused):
                raise RefusedError(answer)
            if not isinstance(answer, Stored) or answer.sha256 not in self._wanted:
                msg = f"it answers with {answer!r:.100} while files are sent; both sides need the same st4vla"
                raise TransportError(msg)
            if answer.ok:
                self.arrived += 1
                told()
                continue
            self._again(self._wanted[answer.sha256])

    def _again(self, wanted: WantedObject) -> None:
        if self._sendings[wanted.sha256] >= SENDINGS:
            path, _ = self._payload.path(wanted.sha256)
            msg = f"{path} arrived altered {SENDINGS} times; is a disk failing, here or there?"
            raise FileAlteredError(msg)
        self.total += wanted.size
        self._queue.put_nowait(WantedObject(wanted.sha256, wanted.size))


def _require_ours(payload: Payload, wanted: WantedObject) -> None:
    try:
        _, size = payload.path(wanted.sha256)
    except KeyError:
        size = -1
    if wanted.size != size or not 0 <= wanted.offset <= size:
        msg = f"it wants {wanted!r}, which the bundle has not; both sides need the same st4vla"
        raise TransportError(msg)
