"""Measurements along a training, which leave it as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from st4vla.contracts.errors import UsageError


@dataclass(frozen=True)
class Probe:
    """A measurement that is made now and then.

    Attributes:
        every: Steps from one to the next.
        measure: Returns figures for the line of the step. It may leave the model in evaluation mode and draw random
            numbers, but changes no weight and no gradient.
    """

    every: int
    measure: Callable[[], Mapping[str, float]]

    def __post_init__(self) -> None:
        """Refuse an interval that never comes round."""
        if self.every < 1:
            msg = f"measuring every {self.every} steps; name at least 1"
            raise UsageError(msg)


def due(probes: Sequence[Probe], steps_done: int) -> list[Probe]:
    """Return those whose turn it is after so many steps."""
    return [probe for probe in probes if steps_done % probe.every == 0]
