"""A flashing host in this process: what `st4vla flash` does for one device, and can be left alone with it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import threading
from collections.abc import Collection
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from st4vla.benchmarks.flashing.powered_device import PoweredDevice
from st4vla.contracts.flash_messages import Progress
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.patience import Patience
from st4vla.export.flashing.payload import open_payload
from st4vla.export.flashing.rate import RateLimit
from st4vla.export.flashing.results import Result
from st4vla.export.flashing.session import Plan, Session
from st4vla.runtime.signing import read_trust

#: A stand-in answers at once, or has lost its power.
PATIENCE = Patience(welcome_s=60.0, retries=4, first_pause_s=0.2)


FLASH_TIMEOUT_S = 240.0


class Told:
    """A reporter that keeps what it is told, as ``step: text``."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        """Keep a sentence about the whole."""
        self.lines.append(text)

    def wave(self, name: str, devices: Collection[Device]) -> None:
        """Keep that a wave begins."""
        self.lines.append(f"{name}: {len(devices)}")

    def begin(self, device: Device) -> None:
        """Keep nothing."""

    def note(self, device: Device, text: str) -> None:
        """Keep what happened to a device."""
        self.lines.append(f"note: {text}")

    def sent(self, device: Device, done: int, total: int) -> None:
        """Keep nothing."""

    def progress(self, device: Device, progress: Progress) -> None:
        """Keep a step and what is said of it."""
        self.lines.append(f"{progress.step}: {progress.text}")

    def end(self, result: Result) -> None:
        """Keep nothing: it is returned."""


def host_of(device: PoweredDevice, config: Path | None = None) -> Device:
    """Return how a flashing host finds a stand-in; by way of another configuration of `ssh`, if one is given."""
    return Device(host=device.name, ssh_options=("-F", str(config or device.ssh.client_config)))


class Flashing:
    """A flash that runs while this context is open; when it closes, nobody waits for the device any more.

    Args:
        device: Which one.
        bundle: Folder of a signed bundle.
        trust: File of the host's trust list.
        config: Of `ssh`; the device's own, if it is not given.

    Attributes:
        told: What was reported.

    Raises:
        SignatureError, FileAlteredError, FileMissingError: The host itself refuses the bundle.
    """

    def __init__(self, device: PoweredDevice, bundle: Path, trust: Path, *, config: Path | None = None) -> None:
        self.told = Told()
        self._payload = open_payload(bundle, read_trust(trust))
        self._payload.verify()
        self._device = host_of(device, config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="flashing host")
        self._thread.start()
        self._result = asyncio.run_coroutine_threadsafe(self._run(), self._loop)

    async def _run(self) -> Result:
        plan = Plan(
            self._payload,
            importlib.metadata.version("st4vla"),
            PATIENCE,
            RateLimit(None),
            asyncio.Semaphore(1),
            self.told,
        )
        return await Session(self._device, plan).run()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._result.done()

    def result(self, timeout_s: float = FLASH_TIMEOUT_S) -> Result:
        """Wait for its end.

        Raises:
            TimeoutError: It does not end.
        """
        return self._result.result(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._result.cancel()
        # The task ends in its own time: it has a connection to close.
        rest = asyncio.run_coroutine_threadsafe(_others(), self._loop)
        with suppress(CancelledError):
            rest.result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _others() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*tasks, return_exceptions=True)


def flash(
    device: PoweredDevice,
    bundle: Path,
    trust: Path,
    *,
    config: Path | None = None,
    timeout_s: float = FLASH_TIMEOUT_S,
) -> Result:
    """Flash a device and return how that ended; see `Flashing`.

    Raises:
        TimeoutError: It does not end.
    """
    with Flashing(device, bundle, trust, config=config) as flashing:
        return flashing.result(timeout_s)
