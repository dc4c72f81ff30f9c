"""One flash, from its request to its outcome, and those who watch it."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from st4vla.contracts.device_status import Outcome, SlotName, Step
from st4vla.contracts.errors import CancelledError, St4vlaError
from st4vla.contracts.flash_messages import Progress
from st4vla.runtime.flashing.offers import Offer
from st4vla.runtime.flashing.record import utc_now
from st4vla.runtime.flashing.state import SlotRecord

LOG = logging.getLogger(__name__)
#: Words of progress that a slow watcher may fall behind; older ones it misses.
KEPT = 64


class Installs(Protocol):
    """What puts an offered bundle into a slot."""

    def install(
        self,
        offer: Offer,
        slot: SlotName,
        *,
        attempt: str,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        serving: bool,
    ) -> SlotRecord:
        """Install; raises what is wrong."""
        ...

    def dry_run(self, offer: Offer, slot: SlotName) -> str:
        """Say what would be done; raises what is wrong."""
        ...


class Flash:
    """A flash, or a roll-back by hand: what is done, how far it is, and how it ended.

    Args:
        bundle_name: What is flashed.
        bundle_digest: SHA-256 of its manifest.
        attempt: Its name in the record; None makes one.

    Attributes:
        attempt: Its name in the record.
        step: What it has come to.
        installed: What is in the slot, once it is.
        failure: Why it is not, once that is known.
    """

    def __init__(self, bundle_name: str, bundle_digest: str, attempt: str | None = None) -> None:
        self.bundle_name, self.bundle_digest = bundle_name, bundle_digest
        self.attempt = attempt or new_attempt()
        self.step: Step = "receive"
        self.installed: SlotRecord | None = None
        self.failure: Exception | None = None
        self.outcome: Outcome | None = None
        self._cancelled = threading.Event()
        self._changed = threading.Condition()
        self._said: deque[tuple[int, Progress]] = deque(maxlen=KEPT)
        self._count = 0
        self._thread: threading.Thread | None = None

    def install(
        self, installer: Installs, offer: Offer, slot: SlotName, *, serving: bool, notify: Callable[[], None]
    ) -> None:
        """Install a bundle from a thread of its own; `notify` is called when `installed` or `failure` is set."""

        def work() -> None:
            try:
                self.installed = installer.install(
                    offer,
                    slot,
                    attempt=self.attempt,
                    progress=self.say,
                    cancelled=self._cancelled.is_set,
                    serving=serving,
                )
            except Exception as error:
                if not isinstance(error, St4vlaError):
                    LOG.exception("%s failed", self.attempt)
                self.failure = error
            notify()

        self._thread = threading.Thread(target=work, name="st4vla_flash", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Ask it to end."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked it to end."""
        return self._cancelled.is_set()

    def join(self, timeout_s: float) -> None:
        """Wait until nothing is installed any more."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def say(self, progress: Progress) -> None:
        """Tell those who watch; nobody is waited for."""
        with self._changed:
            self.step = progress.step
            self._count += 1
            self._said.append((self._count, progress))
            self._changed.notify_all()

    def finish(self, outcome: Outcome) -> None:
        """Tell those who watch how it ended."""
        with self._changed:
            self.outcome = outcome
            self._changed.notify_all()

    def follow(self, seen: int, timeout_s: float) -> tuple[list[Progress], int, Outcome | None]:
        """Wait for news.

        Args:
            seen: What the last call returned as such; 0 at first.
            timeout_s: How long to wait at most.

        Returns:
            What is new, how much has been seen, and the outcome once there is one.
        """
        with self._changed:
            if self._count == seen and self.outcome is None:
                self._changed.wait(timeout_s)
            return [said for number, said in self._said if number > seen], self._count, self.outcome

    def succeeded(self, message: str) -> Outcome:
        """Return the outcome of a flash that did what it was to do."""
        return self._outcome(ok=True, message=message)

    def failed(self, error: Exception, *, rolled_back: bool = False) -> Outcome:
        """Return the outcome of a flash that did not."""
        text = (
            str(error) if isinstance(error, St4vlaError) else f"{type(error).__name__}; the supervisor's log says more"
        )
        outcome = self._outcome(ok=False, message=text)
        return replace(outcome, error=type(error).__name__, rolled_back=rolled_back)

    def _outcome(self, *, ok: bool, message: str) -> Outcome:
        return Outcome(
            ok=ok,
            attempt=self.attempt,
            bundle_name=self.bundle_name,
            bundle_digest=self.bundle_digest,
            step=self.step,
            message=message,
            ended_at=utc_now(),
        )


def new_attempt(kind: str = "flash") -> str:
    """Return a name that no other attempt has, not even where the clock is wrong."""
    return f"{kind}-{secrets.token_hex(4)}"


def cancelled() -> CancelledError:
    """Return what a flash that was cancelled before its switch ends with."""
    return CancelledError("the flash was cancelled before the switch; the device goes on as before")
