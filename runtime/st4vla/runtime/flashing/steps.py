"""The steps of one flash: begun, told, written down, and ended early when it is no longer wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

from st4vla.contracts.device_status import Step
from st4vla.contracts.errors import CancelledError
from st4vla.contracts.flash_messages import Progress
from st4vla.runtime.flashing.offers import Offer
from st4vla.runtime.flashing.record import Record

Moment = Literal["begin", "end"]
OnStep = Callable[[Step, Moment], None]


def no_step(step: Step, moment: Moment) -> None:
    """Do nothing when a step begins or ends."""
    del step, moment


class Steps:
    """What everybody who takes part in a flash is told.

    Args:
        offer: What is flashed.
        attempt: Name of the flash in the record.
        record: Where steps are written down.
        progress: Told of all.
        cancelled: Says whether it is still wanted.
        on_step: Called when a step begins and when it has ended well.
    """

    def __init__(
        self,
        offer: Offer,
        attempt: str,
        record: Record,
        *,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        on_step: OnStep,
    ) -> None:
        self._offer, self._attempt, self._record = offer, attempt, record
        self._progress, self.cancelled, self._on_step = progress, cancelled, on_step
        self._step: Step = "verify"

    @contextlib.contextmanager
    def step(self, step: Step, text: str) -> Iterator[None]:
        """Hold a block that is one step.

        Raises:
            CancelledError: The flash is no longer wanted.
        """
        self._step = step
        self.require_wanted()
        self.write("step", text)
        self._on_step(step, "begin")
        self.say(text)
        yield
        self._on_step(step, "end")

    def say(self, text: str = "", fraction: float | None = None) -> None:
        """Tell how far the step is."""
        self._progress(Progress(self._step, text, fraction))

    def write(self, event: str, text: str) -> None:
        """Write down what happened in the step."""
        self._record.write(
            event,
            attempt=self._attempt,
            step=self._step,
            bundle_name=self._offer.manifest.name,
            bundle_digest=self._offer.digest,
            text=text,
        )

    def require_wanted(self) -> None:
        """End the flash if it is no longer wanted.

        Raises:
            CancelledError: It is not.
        """
        if self.cancelled():
            msg = f"cancelled at the step {self._step}; the policy that serves was not touched"
            raise CancelledError(msg)
