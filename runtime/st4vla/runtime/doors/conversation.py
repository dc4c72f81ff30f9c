"""One WebSocket client: at most one request at a time, and its answer."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import MalformedMessageError
from st4vla.contracts.messages import ActionChunk, ErrorReply
from st4vla.runtime.doors.dialect import Dialect, Request
from st4vla.runtime.doors.seats import Party

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

LOG = logging.getLogger(__name__)
#: How long a client may take for taking an answer.
SEND_S = 5.0
#: Reasons for closing, RFC 6455, section 7.4.1.
TEXT_REFUSED, INVALID_DATA, POLICY = 1003, 1007, 1008
TOO_FAST = "one request at a time: this one came before the answer to the last, so the connection ends"

Answers = list[ActionChunk | ErrorReply]


class Conversation:
    """What is said on one connection. Lives in the event loop; only the core's answers come from other threads.

    Args:
        connection: The client's.
        dialect: What is said.
        party: The client's seats.
        timeout_s: How long a request waits for its chunk.
        counts: The door's counters.
    """

    def __init__(
        self, connection: ServerConnection, dialect: Dialect, party: Party, timeout_s: float, counts: Counter[str]
    ) -> None:
        self._connection, self._dialect, self._party = connection, dialect, party
        self._timeout_s, self._counts = timeout_s, counts
        self._loop = asyncio.get_running_loop()
        self._thinking = False
        self._answering: asyncio.Task[None] | None = None

    async def take(self, data: bytes | str) -> bool:
        """Take one message; False when the connection is over."""
        received_ns = monotonic_ns()
        self._counts["messages"] += 1
        if self._thinking:
            return await self._refuse(TOO_FAST, POLICY)
        if self._answering is not None:
            # The answer is on its way; a client that does not take it is not read from.
            await self._answering
        if isinstance(data, str):
            return await self._refuse("a text frame; requests are binary frames of msgpack", TEXT_REFUSED)
        try:
            request = self._dialect.read(data, received_ns)
        except MalformedMessageError as error:
            return await self._refuse(str(error), INVALID_DATA)
        except Exception:
            LOG.exception("a request in the protocol of %s could not be read", self._dialect.name)
            return await self._refuse("a request that could not be read", INVALID_DATA)
        if request.reset:
            self._party.renew()
        if not request.rows:
            await self.send(request.answer)
            return True
        self._thinking = True
        asked: asyncio.Future[Answers] = self._loop.create_future()
        self._answering = self._loop.create_task(self._answer(request, received_ns, asked))
        self._party.ask(request.rows, received_ns, lambda answers: self._deliver(asked, answers))
        return True

    async def send(self, answer: bytes | str) -> None:
        """Send one answer; a client that does not take it in time is cut off."""
        guard = self._loop.call_later(SEND_S, self._cut_off)
        try:
            await self._connection.send(answer)
        finally:
            guard.cancel()

    def end(self) -> None:
        """Stop waiting for an answer that nobody takes any more."""
        if self._answering is not None:
            self._answering.cancel()

    def _cut_off(self) -> None:
        self._counts["clients_cut_off"] += 1
        self._connection.transport.abort()

    def _deliver(self, asked: asyncio.Future[Answers], answers: Answers) -> None:
        # The loop may have ended while the core was still thinking.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_settle, asked, answers)

    async def _answer(self, request: Request, received_ns: int, asked: asyncio.Future[Answers]) -> None:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - an extra

        guard = self._loop.call_later(self._timeout_s, _settle, asked, [])
        try:
            answers = await asked
        finally:
            guard.cancel()
        if not answers:
            self._party.renew()
            self._counts["timeouts"] += 1
        answer = answer_to(self._dialect, request, answers, monotonic_ns() - received_ns)
        self._thinking = False
        with suppress(ConnectionClosed):
            await self.send(answer)

    async def _refuse(self, text: str, code: int) -> bool:
        self._counts["messages_refused"] += 1
        LOG.info("a client of %s: %s", self._dialect.name, text)
        await self.send(self._dialect.refusal(text))
        await self._connection.close(code, text[:120].encode("ascii", "replace").decode())
        return False


def answer_to(dialect: Dialect, request: Request, answers: Answers, elapsed_ns: int) -> bytes | str:
    """Return what a client is told: its chunks, or the first of the errors, or that none of either came in time."""
    if not answers:
        text = f"no action chunk within {elapsed_ns / 1e9:.1f} s; the engines are busy or stuck"
        return dialect.refusal(text, request.context)
    for answer in answers:
        if isinstance(answer, ErrorReply):
            return dialect.refusal(answer.message, request.context)
    chunks = [answer for answer in answers if isinstance(answer, ActionChunk)]
    return dialect.reply(request, chunks, elapsed_ns)


def _settle(asked: asyncio.Future[Answers], answers: Answers) -> None:
    if not asked.done():
        asked.set_result(answers)
