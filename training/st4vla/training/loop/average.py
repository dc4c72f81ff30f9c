"""The exponential moving average of what a model learns, which often acts better than the last step's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from st4vla.contracts.errors import ManifestError, UsageError


class WeightAverage:
    """Averages of a model's learning parameters, float32.

    Args:
        model: What learns; sharded parameters have sharded averages.
        decay: Share of the average that a step keeps, in (0, 1). In the first steps it is less, (1 + n) / (10 + n)
            after n of them, so that the average does not hang on to where the training began.

    Raises:
        UsageError: The decay is not in that range.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            msg = f"average_decay {decay:g} must lie between 0 and 1, as 0.999 does; 0 is no average"
            raise UsageError(msg)
        self._decay = decay
        self._learning = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._averages = {name: value.detach().float().clone() for name, value in self._learning.items()}

    @property
    def averages(self) -> Mapping[str, Tensor]:
        """Name of each learning parameter to its average."""
        return self._averages

    def load(self, averages: Mapping[str, Tensor]) -> None:
        """Go on from averages that were saved.

        Raises:
            ManifestError: They are not those of this model.
        """
        if averages.keys() != self._averages.keys():
            names = sorted(averages.keys() ^ self._averages.keys())
            msg = f"saved averages and this run's learning parameters differ in {', '.join(names[:4])}"
            raise ManifestError(msg)
        for name, value in averages.items():
            self._averages[name].copy_(value)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def update(self, steps_done: int) -> None:
        """Move the averages towards the parameters, after a step."""
        decay = min(self._decay, (1 + steps_done) / (10 + steps_done))
        for name, average in self._averages.items():
            average.lerp_(self._learning[name].float(), 1 - decay)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def store(self) -> None:
        """Write the averages into the model."""
        for name, average in self._averages.items():
            self._learning[name].copy_(average)

    @contextmanager
    def stored(self) -> Iterator[None]:
        """Write the averages into the model for a while."""
        kept = {name: value.detach().clone() for name, value in self._learning.items()}
        self.store()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in kept.items():
                    self._learning[name].copy_(value)
