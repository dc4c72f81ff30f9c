"""Many devices: first the canaries, then the rest, and a stop when too many fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from st4vla.export.flashing.canary import choose_canaries
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.results import Result
from st4vla.export.flashing.session import Plan, Session
from st4vla.export.flashing.shares import Share


@dataclass(frozen=True)
class Rollout:
    """How many at once, and how many failures.

    Attributes:
        parallel: Devices that are flashed at one moment.
        canary: How many are flashed first, and must all end well.
        budget: How many may fail of the others, and of all that cannot be reached.
    """

    parallel: int
    canary: Share
    budget: Share


class Waves:
    """A flash of many devices."""

    def __init__(self, devices: Sequence[Device], plan: Plan, rollout: Rollout) -> None:
        self._plan, self._rollout = plan, rollout
        self._sessions = {device: Session(device, plan) for device in devices}
        self._results: dict[Device, Result] = {}
        self._running: dict[asyncio.Task[Result], Device] = {}
        self._probing: list[asyncio.Task[None]] = []
        self._stopped: str | None = None

    @property
    def results(self) -> list[Result]:
        """How each device ended, in the order in which they were given."""
        return [
            self._results.get(device)
            or session.result("not started", f"its turn did not come: {self._stopped or 'the flash ended before'}")
            for device, session in self._sessions.items()
        ]

    def stop(self, why: str) -> None:
        """Begin no further device; the first reason stays."""
        if self._stopped is None:
            self._stopped = why
            self._plan.reporter.say(f"no further device is begun: {why}")

    def leave(self) -> None:
        """Wait for no device any more."""
        self.stop("interrupted")
        for task in (*self._running, *self._probing):
            task.cancel()

    async def run(self, verified: Awaitable[None]) -> list[Result]:
        """Flash all devices, as far as they end well, and return how each ended.

        Args:
            verified: Done when the bundle's files are known to be whole; nothing travels before.

        Raises:
            St4vlaError: What `verified` ends with.
        """
        try:
            self._probing = [asyncio.ensure_future(self._probe(device)) for device in self._sessions]
            await verified
            await asyncio.wait(self._probing)
            for task in self._probing:
                if not task.cancelled():
                    task.result()
            if self._stopped is None:
                await self._run_waves()
        finally:
            for task in self._probing:
                task.cancel()
            await asyncio.gather(*self._probing, return_exceptions=True)
            await asyncio.gather(*(session.close() for session in self._sessions.values()))
        return self.results

    async def _probe(self, device: Device) -> None:
        """Find out whether a device can be reached, and what it is."""
        if self._stopped is not None:
            return
        session = self._sessions[device]
        result = await session.probe()
        if result is not None:
            self._take(device, result)

    async def _run_waves(self) -> None:
        plan, total = self._plan, len(self._sessions)
        machines = {
            device: session.status.machine
            for device, session in self._sessions.items()
            if device not in self._results and session.status is not None
        }
        away, allowed = len(self._results), self._rollout.budget.at_most(total)
        if away > allowed:
            self.stop(
                f"{away} of {total} devices cannot be reached; --failure-budget {self._rollout.budget} allows {allowed}"
            )
            return
        canaries = choose_canaries(machines, self._rollout.canary, plan.payload.digest)
        rest = [device for device in machines if device not in canaries]
        # Their turn may be hours away. The canaries' links are used at once.
        await asyncio.gather(*(self._sessions[device].close() for device in rest))
        lost = sum(device.canary for device in self._results)
        await self._wave("canaries" if rest else "devices", canaries, allowed=0, failed=lost)
        if rest:
            await self._wave("other devices", rest, allowed=allowed, failed=away)

    async def _wave(self, name: str, devices: Sequence[Device], *, allowed: int, failed: int) -> None:
        """Flash devices, some at a time, until more have failed than are allowed."""
        waiting = list(devices)
        self._judge(name, failed, allowed)
        if waiting and self._stopped is None:
            self._plan.reporter.wave(name, devices)
        while self._running or (waiting and self._stopped is None):
            while waiting and self._stopped is None and len(self._running) < self._rollout.parallel:
                device = waiting.pop(0)
                self._running[asyncio.ensure_future(self._sessions[device].run())] = device
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                device = self._running.pop(task)
                result = self._left(device) if task.cancelled() else task.result()
                self._take(device, result)
                failed += not result.ok
            self._judge(name, failed, allowed)

    def _judge(self, name: str, failed: int, allowed: int) -> None:
        """Stop when more have failed than may, and somebody waits."""
        waiting = len(self._sessions) - len(self._results) - len(self._running)
        if failed > allowed and waiting:
            self.stop(f"{failed} of the {name} failed, {allowed} may")

    def _take(self, device: Device, result: Result) -> None:
        self._results[device] = result
        self._plan.reporter.end(result)

    def _left(self, device: Device) -> Result:
        session = self._sessions[device]
        return session.result("left", "nobody waits for it" + session.ending)
