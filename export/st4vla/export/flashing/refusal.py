"""A device's refusal, as an error of ours."""

from __future__ import annotations

from st4vla.contracts.errors import FlashError
from st4vla.contracts.flash_messages import Refused
from st4vla.runtime.printable import printable

_MESSAGE_CHARACTERS = 1000


class RefusedError(FlashError):
    """A device says no.

    Attributes:
        step: What it failed in.
        error: The class of the device's error.
    """

    def __init__(self, refused: Refused) -> None:
        super().__init__(printable(refused.message, _MESSAGE_CHARACTERS))
        self.step = refused.step
        self.error = printable(refused.error, 100)
