"""The flash of one device: offer, send, install, and to the end, over as many links as it takes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from st4vla.contracts.device_status import STEPS, DeviceStatus, Outcome, Step
from st4vla.contracts.errors import FlashError, LinkError, ServerUnreachableError, St4vlaError, TransportError
from st4vla.contracts.flash_messages import Finished, Install, Progress, Refused, Wanted, Watch
from st4vla.export.flashing.conversation import ask, greet
from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.link import Link
from st4vla.export.flashing.patience import Patience
from st4vla.export.flashing.payload import Payload
from st4vla.export.flashing.rate import RateLimit
from st4vla.export.flashing.refusal import RefusedError
from st4vla.export.flashing.reporting import Reporter, megabytes
from st4vla.export.flashing.results import Result, State
from st4vla.export.flashing.retrying import Retries
from st4vla.export.flashing.uploading import Upload

#: A device that has just come up answers so before its supervisor runs, and one whose supervisor ends meanwhile.
_NOT_UP = (TransportError.__name__, ServerUnreachableError.__name__)


@dataclass(frozen=True)
class Plan:
    """What all devices of a flash have in common.

    Attributes:
        payload: What is flashed.
        version: Of our `st4vla`.
        patience: How long devices are waited for.
        limit: Bytes a second, over all of them.
        doors: How many links may be opening at one moment: a host that is jumped through turns others away.
        reporter: Who shows how it goes.
        dry_run: Only ask what would happen.
        again: Flash devices, too, that run the bundle already.
    """

    payload: Payload
    version: str
    patience: Patience
    limit: RateLimit
    doors: asyncio.Semaphore
    reporter: Reporter
    dry_run: bool = False
    again: bool = False


class Session:
    """One device's flash.

    Attributes:
        device: Which one.
        status: What it last said of itself at the beginning of a link; None before.
    """

    def __init__(self, device: Device, plan: Plan) -> None:
        self.device = device
        self.status: DeviceStatus | None = None
        self._plan = plan
        self._link: Link | None = None
        self._retries = Retries(plan.patience)
        self._asked = False
        self._sent = self._wanted = self._connections = self._installs = 0
        #: The device's last flash when it was asked to install ours; whatever is told of that one is not told of ours.
        self._before: str | None = None
        self._step: Step | None = None
        self._begin_s = time.monotonic()

    async def connect(self) -> DeviceStatus:
        """Open a link and return how the device is.

        Raises:
            LinkError, TransportError, RefusedError: See `greet`.
        """
        await self.close()
        async with self._plan.doors:
            self._link = Link(self.device)
            self._connections += 1
            status = await greet(self._link, self._plan.version, self._plan.patience.welcome_s)
        self.status = status
        return status

    async def probe(self) -> Result | None:
        """Connect, and leave the link open; return how the device ended when that cannot be."""
        for left in reversed(range(self._plan.patience.probes)):
            try:
                await self.connect()
            except RefusedError as error:
                await self.close()
                return self.result("failed", str(error), error=error.error, step=error.step)
            except St4vlaError as error:
                await self.close()
                if left == 0 or not (isinstance(error, LinkError) and error.again):
                    return self.result("unreachable", str(error), error=type(error).__name__)
                await asyncio.sleep(self._plan.patience.first_pause_s)
            else:
                break
        return None

    async def close(self) -> None:
        """Close the link; a flash that runs goes on without it."""
        link, self._link = self._link, None
        if link is not None:
            self._sent += link.sent
            await link.close()

    async def run(self) -> Result:
        """Flash the device and return how that ended; no error of ours leaves this."""
        self._begin_s = time.monotonic()
        self._plan.reporter.begin(self.device)
        try:
            return await self._until_finished()
        except RefusedError as error:
            return self.result("failed", str(error), error=error.error, step=error.step)
        except St4vlaError as error:
            state: State = "failed" if self.status is not None else "unreachable"
            return self.result(state, str(error), error=type(error).__name__)
        finally:
            await self.close()

    def result(
        self, state: State, message: str, *, error: str = "", step: Step | None = None, rolled_back: bool = False
    ) -> Result:
        """Return how the device ended."""
        return Result(
            device=self.device.title,
            host=self.device.host,
            state=state,
            message=message,
            step=step or self._step,
            error=error,
            rolled_back=rolled_back,
            wanted_bytes=self._wanted,
            sent_bytes=self._sent + (self._link.sent if self._link is not None else 0),
            seconds=round(time.monotonic() - self._begin_s, 3),
            connections=self._connections,
        )

    async def _until_finished(self) -> Result:
        while True:
            asked_before = self._asked
            try:
                return await self._on_one_link()
            except LinkError as error:
                await self._wait_for_another(error)
            except RefusedError as error:
                if error.error not in _NOT_UP or not (asked_before or self._installs):
                    raise
                await self._wait_for_another(LinkError(str(error), again=True))

    async def _on_one_link(self) -> Result:
        status = self.status if self._link is not None and self.status is not None else await self.connect()
        if self._asked:
            told = await self._told_of_install(status)
            if told is not None:
                return told
            self._plan.reporter.note(self.device, "it knows nothing of its flash; it is asked again")
        elif _runs(status, self._plan.payload.digest) and not self._plan.again:
            return self.result("unchanged", "it runs this bundle already")
        return await self._deliver(status)

    async def _deliver(self, status: DeviceStatus) -> Result:
        """Offer the bundle, send what is missing, and have it installed."""
        plan, link = self._plan, self._open_link
        wanted = await ask(link, plan.payload.offer, Wanted, plan.patience.answer_s)
        upload = Upload(link, plan.payload, wanted, plan.limit)
        self._wanted = max(self._wanted, upload.total)
        self._retries.reached(0, plan.payload.size - upload.total)
        if wanted.objects:
            self._step = "receive"
            names = ", ".join(plan.payload.names(wanted.objects))
            size = f"{megabytes(upload.total)} of {megabytes(plan.payload.size)}"
            plan.reporter.note(self.device, f"{size} to send: {names}")
        if wanted.objects and not plan.dry_run:
            begin_s = time.monotonic()
            await upload.run(
                lambda: plan.reporter.sent(self.device, upload.done, upload.total), plan.patience.silence_s
            )
            plan.reporter.note(self.device, f"all there after {time.monotonic() - begin_s:.1f} s")
        if not plan.dry_run:
            if self._installs >= plan.patience.installs:
                msg = (
                    f"it was asked {self._installs} times to install, and forgot it each time; does it lose its power?"
                )
                raise FlashError(msg)
            self._asked, self._before = True, _last_attempt(status)
        finished = await self._follow(Install(plan.payload.digest, plan.dry_run))
        return self._result_of(finished.outcome)

    async def _told_of_install(self, status: DeviceStatus) -> Result | None:
        """Return how our flash ended, once it has; None when the device knows nothing of it."""
        if status.flashing is None and status.trial is None and _last_attempt(status) == self._before:
            return None
        finished = await self._follow(Watch())
        outcome = finished.outcome
        if outcome.bundle_digest != self._plan.payload.digest or outcome.attempt == self._before:
            return None
        return self._result_of(outcome)

    async def _follow(self, request: Install | Watch) -> Finished:
        """Ask, and show what the device says until its flash has ended."""
        link, plan, begun = self._open_link, self._plan, False
        # Why a pipe is broken, `receive` finds out.
        with contextlib.suppress(BrokenPipeError):
            await link.send(request)
        while True:
            answer = await link.receive(plan.patience.install_silence_s)
            if isinstance(answer, Finished):
                return answer
            if isinstance(answer, Refused):
                raise RefusedError(answer)
            if not isinstance(answer, Progress):
                msg = f"it answers with {answer!r:.100} while it installs; both sides need the same st4vla"
                raise TransportError(msg)
            if not begun and isinstance(request, Install):
                self._installs += 1
            begun = True
            self._step = answer.step
            self._retries.reached(1 + STEPS.index(answer.step))
            plan.reporter.progress(self.device, answer)

    async def _wait_for_another(self, error: LinkError) -> None:
        """Wait until the link may be opened again.

        Raises:
            LinkError: That is of no use, or was done often enough.
        """
        talked_s = 0.0 if self._link is None else self._link.talked_s
        await self.close()
        # What was reached before can be reached again, unless somebody must first do something about it.
        pause_s = self._retries.pause_s(talked_s) if error.again else None
        if pause_s is None:
            raise LinkError(f"{error}{self.ending}", again=False) from error
        self._plan.reporter.note(self.device, f"{error}; tried again in {pause_s:g} s")
        await asyncio.sleep(pause_s)

    @property
    def ending(self) -> str:
        """What becomes of a device that nobody waits for, as the end of a sentence."""
        if self._asked:
            return "; it goes on by itself: `st4vla devices` will show how it ended"
        return "; it is as before, and keeps what has arrived" if self._step == "receive" else "; it is as before"

    def _result_of(self, outcome: Outcome) -> Result:
        state: State = "failed"
        if outcome.ok:
            state = "would flash" if self._plan.dry_run else "flashed"
        return self.result(
            state, outcome.message, error=outcome.error, step=outcome.step, rolled_back=outcome.rolled_back
        )

    @property
    def _open_link(self) -> Link:
        assert self._link is not None  # noqa: S101 - it was just opened
        return self._link


def _runs(status: DeviceStatus, digest: str) -> bool:
    """Whether a device has committed this bundle and serves it."""
    slot = status.slots.get(status.active) if status.active is not None else None
    settled = status.trial is None and status.flashing is None
    serves = status.server is not None and status.server.health != "down"
    return settled and serves and slot is not None and slot.bundle_digest == digest


def _last_attempt(status: DeviceStatus) -> str | None:
    return None if status.last is None else status.last.attempt
