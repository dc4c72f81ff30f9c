"""Ask a device's supervisor on this machine."""

from __future__ import annotations

from collections.abc import Callable

from st4vla.contracts import errors
from st4vla.contracts.device_status import DeviceStatus, Outcome
from st4vla.contracts.errors import FlashError, St4vlaError, TransportError
from st4vla.contracts.flash_messages import Ask, Finished, Progress, Refused, Request, Told, decode_answer
from st4vla.runtime.flashing.config import read_config
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.message_stream import MessageStream, connect


def ask(layout: Layout, request: Request, progress: Callable[[Progress], None]) -> Outcome:
    """Ask for what ends with an outcome.

    Raises:
        St4vlaError: The supervisor refuses; the class is the one that it names.
        TransportError: It does not run, or ended meanwhile.
    """
    with connect(layout.control) as link:
        stream = MessageStream(link.fileno(), link.fileno())
        stream.send(request)
        while (body := stream.receive()) is not None:
            answer = decode_answer(body)
            if isinstance(answer, Progress):
                progress(answer)
            elif isinstance(answer, Finished):
                return answer.outcome
            elif isinstance(answer, Refused):
                raise refusal(answer)
    msg = "the supervisor ended; when it runs again, `st4vla device watch` tells how the flash went on"
    raise TransportError(msg)


def ask_status(layout: Layout) -> DeviceStatus:
    """Return how the device is: as its supervisor says, or as its files say when none runs.

    Raises:
        ManifestError: Its state is damaged.
    """
    try:
        with connect(layout.control) as link:
            stream = MessageStream(link.fileno(), link.fileno())
            stream.send(Ask())
            body = stream.receive()
            answer = None if body is None else decode_answer(body)
            if isinstance(answer, Told):
                return answer.status
    except TransportError:
        pass
    from st4vla.runtime.flashing.status import device_status  # noqa: PLC0415 - it takes its time to load

    return device_status(layout, read_config(layout.config))


def refusal(refused: Refused) -> St4vlaError:
    """Return a refusal as the error that it was on the other side."""
    kind = getattr(errors, refused.error, None)
    if isinstance(kind, type) and issubclass(kind, St4vlaError):
        return kind(refused.message)
    return FlashError(refused.message)
