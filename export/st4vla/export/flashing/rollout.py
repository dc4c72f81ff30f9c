"""A whole flash: the bundle is verified while the devices are connected to; then wave after wave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from st4vla.export.flashing.interrupts import interrupts
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.results import Result
from st4vla.export.flashing.session import Plan
from st4vla.export.flashing.waves import Rollout, Waves


async def flash_all(devices: Sequence[Device], plan: Plan, rollout: Rollout) -> list[Result]:
    """Flash devices and return how each ended, in the same order.

    Raises:
        FileMissingError, FileAlteredError, ManifestError: The bundle is not whole; nothing has travelled.
    """
    waves = Waves(devices, plan, rollout)
    with interrupts(lambda: waves.stop("interrupted; once more leaves those that run"), waves.leave):
        return await waves.run(asyncio.to_thread(plan.payload.verify))
