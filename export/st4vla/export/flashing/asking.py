"""One question to many devices at once: how each is, or a message whose answer says that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from st4vla.contracts.device_status import DeviceStatus
from st4vla.contracts.errors import LinkError, St4vlaError
from st4vla.contracts.flash_messages import Request, Told
from st4vla.export.flashing.conversation import ask, greet
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.link import Link
from st4vla.export.flashing.patience import Patience


@dataclass(frozen=True)
class Answered:
    """What came of a question to one device.

    Attributes:
        device: Which one.
        status: How it is, or None.
        why: Why it is not known how it is, or why the device refused what it was brought.
    """

    device: Device
    status: DeviceStatus | None
    why: str = ""


async def ask_all(
    devices: Sequence[Device], request: Request | None, version: str, patience: Patience, doors: int
) -> list[Answered]:
    """Ask all devices, and return their answers in the same order.

    Args:
        devices: Whom to ask.
        request: What, such as `Trust`; None for how they are, which they say when they are greeted.
        version: Of our `st4vla`.
        patience: How long to wait for each.
        doors: How many links may be open at one moment.
    """
    gate = asyncio.Semaphore(doors)

    async def one(device: Device) -> Answered:
        async with gate:
            return await _ask_one(device, request, version, patience)

    return list(await asyncio.gather(*(one(device) for device in devices)))


async def _ask_one(device: Device, request: Request | None, version: str, patience: Patience) -> Answered:
    tries = 1
    while True:
        link: Link | None = None
        status: DeviceStatus | None = None
        try:
            link = Link(device)
            status = await greet(link, version, patience.welcome_s)
            if request is not None:
                status = (await ask(link, request, Told, patience.answer_s)).status
        except St4vlaError as error:
            if tries == patience.probes or not (isinstance(error, LinkError) and error.again):
                return Answered(device, status, str(error))
        else:
            return Answered(device, status)
        finally:
            if link is not None:
                await link.close()
        tries += 1
        await asyncio.sleep(patience.first_pause_s)
