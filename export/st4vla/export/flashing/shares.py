"""A part of a fleet: so many devices, or a share of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from st4vla.contracts.errors import UsageError


@dataclass(frozen=True)
class Share:
    """So many devices, or a share of them.

    Attributes:
        value: A count, or a share between 0 and 1.
        counted: Whether it is a count.
    """

    value: float
    counted: bool

    def at_least(self, total: int) -> int:
        """Return how many of `total` devices reach it."""
        return min(total, int(self.value) if self.counted else math.ceil(self.value * total - 1e-9))

    def at_most(self, total: int) -> int:
        """Return how many of `total` devices do not exceed it."""
        return min(total, int(self.value) if self.counted else math.floor(self.value * total + 1e-9))

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return str(int(self.value)) if self.counted else f"{100 * self.value:g}%"


def read_share(text: str, option: str) -> Share:
    """Return the share that a text such as ``10%``, ``0.1`` or ``3`` (devices) means.

    Raises:
        UsageError: It means none.
    """
    try:
        if text.endswith("%"):
            share = Share(float(text[:-1]) / 100, counted=False)
        elif "." in text:
            share = Share(float(text), counted=False)
        else:
            return Share(_natural(text), counted=True)
    except ValueError:
        share = Share(-1.0, counted=False)
    if not 0 <= share.value <= 1:
        msg = f"{option} {text}: give a share such as 10% or 0.1, or a number of devices such as 3"
        raise UsageError(msg)
    return share


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number
