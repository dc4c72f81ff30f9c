"""Questions to one device over one link, and the answers that may follow them."""

from __future__ import annotations

import contextlib
from typing import TypeVar

from st4vla.contracts.device_status import DeviceStatus
from st4vla.contracts.errors import TransportError
from st4vla.contracts.flash_messages import (
    PROTOCOL,
    Answer,
    Hello,
    Refused,
    Request,
    Welcome,
)
from st4vla.export.flashing.link import Link
from st4vla.export.flashing.refusal import RefusedError

A = TypeVar("A", bound=Answer)


async def greet(link: Link, version: str, welcome_s: float) -> DeviceStatus:
    """Say hello and return how the device is.

    Raises:
        LinkError: It cannot be reached, or does not answer.
        TransportError: It speaks another protocol.
        RefusedError: It does not talk to us.
    """
    welcome = await ask(link, Hello(PROTOCOL, version), Welcome, welcome_s)
    if welcome.protocol != PROTOCOL:
        msg = (
            f"it speaks flashing protocol {welcome.protocol} (st4vla {welcome.status.version}), we speak {PROTOCOL} "
            f"(st4vla {version}); both sides need the same st4vla"
        )
        raise TransportError(msg)
    return welcome.status


async def ask(link: Link, request: Request, kind: type[A], answer_s: float) -> A:
    """Ask one thing and return its answer.

    Raises:
        LinkError: The link was cut, or no answer came.
        TransportError: The answer is to another question.
        RefusedError: The device refuses.
    """
    # Why a pipe is broken, `receive` finds out.
    with contextlib.suppress(BrokenPipeError):
        await link.send(request)
    answer = await link.receive(answer_s)
    if isinstance(answer, Refused):
        raise RefusedError(answer)
    if not isinstance(answer, kind):
        msg = f"it answers a {request.__struct_config__.tag} with {answer!r:.100}; both sides need the same st4vla"
        raise TransportError(msg)
    return answer
