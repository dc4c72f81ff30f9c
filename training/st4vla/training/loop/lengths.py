"""Batches of samples of like length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from st4vla.contracts.errors import UsageError
from st4vla.training.loop.order import Draw, MixtureOrder

#: Tells this use of the order's seed from its others.
_WINDOW = 2


class LengthGrouped:
    """Reorder a mixture's draws within windows of some batches: sorted by length, cut into batches, those shuffled.

    A window holds the draws that it would hold without this, so every sample still comes once an epoch, and the batch
    of a step follows from the seed and the step alone. What differs is who shares a batch: its samples are alike in
    length, hence more alike in kind than chance would have them, and gradients are noisier for it. Windows of 8 to 32
    batches leave little padding.

    Args:
        order: The mixture.
        length: Tokens of a draw's sample; asked once a window for each draw.
        batch_size: Samples in a step.
        window: Batches that are sorted together; 1 leaves the order as it is.

    Raises:
        UsageError: A batch or window without a sample.
    """

    def __init__(self, order: MixtureOrder, length: Callable[[Draw], int], *, batch_size: int, window: int) -> None:
        if batch_size < 1 or window < 1:
            msg = f"batches of {batch_size} samples in windows of {window} batches; both must be at least 1"
            raise UsageError(msg)
        self._order, self._length = order, length
        self._batch_size, self._window = batch_size, window
        self._known: tuple[int, list[list[Draw]]] | None = None

    def batch(self, step: int) -> list[Draw]:
        """Return the draws of a step, counted from 0, the longest first."""
        if self._window == 1:
            return self._order.batch(step, self._batch_size)
        window, place = divmod(step, self._window)
        if self._known is None or self._known[0] != window:
            self._known = (window, self._group(window))
        return self._known[1][place]

    def _group(self, window: int) -> list[list[Draw]]:
        size = self._batch_size
        draws = self._order.batch(window, size * self._window)
        lengths = [self._length(draw) for draw in draws]
        # Sorting is stable, so equal lengths stay in their random order.
        ranked = [draws[index] for index in sorted(range(len(draws)), key=lambda index: -lengths[index])]
        shuffled = np.random.default_rng([self._order.seed, _WINDOW, window]).permutation(self._window)
        return [ranked[place * size : (place + 1) * size] for place in shuffled.tolist()]
