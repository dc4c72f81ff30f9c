"""What a server of our own protocol does with one message, however it came."""

from __future__ import annotations

import logging
from collections.abc import Callable

from st4vla.contracts.errors import (
    ChecksumError,
    ForeignMessageError,
    TruncatedMessageError,
    WireError,
    WireVersionError,
)
from st4vla.contracts.messages import ErrorCode, Goodbye, Hello, Message, Observation
from st4vla.runtime.core import Core, Deliver

LOG = logging.getLogger(__name__)
#: The largest message that is taken: more than eight raw views of 1600 x 1600.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
#: The first class that fits decides; a wire error of no other class is a malformed message.
CODES: tuple[tuple[type[WireError], ErrorCode], ...] = (
    (ForeignMessageError, ErrorCode.FOREIGN_MESSAGE),
    (WireVersionError, ErrorCode.WIRE_VERSION),
    (TruncatedMessageError, ErrorCode.TRUNCATED_MESSAGE),
    (ChecksumError, ErrorCode.CHECKSUM),
    (WireError, ErrorCode.MALFORMED_MESSAGE),
)


def answer(
    core: Core, client: bytes, read: Callable[[], Message], received_ns: int, deliver: Deliver
) -> Message | None:
    """Take one message in and return what can be answered at once; nothing that a client sends is raised.

    Args:
        core: What answers.
        client: Whose message it is; unique among all doors.
        read: Decodes it, or raises the `WireError` that says why it cannot be read.
        received_ns: When it came, on this machine's clock.
        deliver: See `Core.submit`.
    """
    core.counts["messages"] += 1
    try:
        return _answer(core, client, read, received_ns, deliver)
    except Exception as error:
        # Not even what nobody has thought of may end the thread that calls this.
        LOG.exception("a message could not be taken in")
        return core.refusal(ErrorCode.INTERNAL, f"the server failed with {type(error).__name__}", 0)


def _answer(
    core: Core, client: bytes, read: Callable[[], Message], received_ns: int, deliver: Deliver
) -> Message | None:
    try:
        message = read()
    except WireError as error:
        code = next(code for kind, code in CODES if isinstance(error, kind))
        return core.refusal(code, str(error), 0)
    if isinstance(message, Observation):
        return core.submit(client, message, received_ns, deliver)
    if isinstance(message, Hello):
        return core.welcome()
    if isinstance(message, Goodbye):
        core.leave(client)
        return None
    text = f"a server takes HELLO, OBSERVATION and GOODBYE; got {type(message).__name__}"
    return core.refusal(ErrorCode.UNEXPECTED_KIND, text, message.sequence)
