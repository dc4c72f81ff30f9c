"""Which sample comes when: a mixture of data sets in an order that a seed fixes for ever.

The order is a function of the draw's number alone, so a run that goes on from step n draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import DatasetError, UsageError

BLOCK = 4096
#: Tell the two uses of one seed apart.
_PICK, _SHUFFLE = 0, 1


@dataclass(frozen=True)
class Draw:
    """A sample: which data set of the mixture, and which of its samples."""

    dataset: int
    sample: int


class MixtureOrder:
    """Draw from data sets by weight; within each, every sample once before any comes again, shuffled anew each time.

    Args:
        sizes: Samples of each data set.
        weights: How often each is drawn, relative to the others; 0 leaves one out.
        seed: The order.

    Raises:
        DatasetError: A data set that is to be drawn is empty.
        UsageError: Weights that are negative, all zero, or not one for each data set.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int) -> None:
        total = sum(weights)
        if len(weights) != len(sizes) or not 0 < total < float("inf") or min(weights) < 0:
            msg = f"mixture weights {list(weights)} for {len(sizes)} data sets: give each one at least 0, not all 0"
            raise UsageError(msg)
        empty = [index for index, (size, weight) in enumerate(zip(sizes, weights, strict=True)) if weight and not size]
        if empty:
            msg = f"data sets {empty} of the mixture hold no samples; convert them again or give them the weight 0"
            raise DatasetError(msg)
        self._sizes, self._seed = tuple(sizes), seed
        self._shares = np.asarray(weights, np.float64) / total
        self._picks: list[npt.NDArray[np.intp]] = []
        # How often each data set was drawn before each block.
        self._counts = [np.zeros(len(sizes), np.int64)]
        self._shuffled: dict[int, tuple[int, npt.NDArray[np.int64]]] = {}

    @property
    def seed(self) -> int:
        """What the order follows from."""
        return self._seed

    def draw(self, number: int) -> Draw:
        """Return the draw of a number, counted from 0."""
        block, place = divmod(number, BLOCK)
        while len(self._picks) <= block:
            self._pick_block()
        picks = self._picks[block]
        dataset = int(picks[place])
        before = int(self._counts[block][dataset]) + int((picks[:place] == dataset).sum())
        epoch, index = divmod(before, self._sizes[dataset])
        return Draw(dataset, int(self._permutation(dataset, epoch)[index]))

    def batch(self, step: int, batch_size: int) -> list[Draw]:
        """Return the draws of a step, counted from 0."""
        return [self.draw(number) for number in range(step * batch_size, (step + 1) * batch_size)]

    def _pick_block(self) -> None:
        generator = np.random.default_rng([self._seed, _PICK, len(self._picks)])
        picks = generator.choice(len(self._sizes), BLOCK, p=self._shares)
        self._picks.append(picks)
        self._counts.append(self._counts[-1] + np.bincount(picks, minlength=len(self._sizes)))

    def _permutation(self, dataset: int, epoch: int) -> npt.NDArray[np.int64]:
        known = self._shuffled.get(dataset)
        if known is None or known[0] != epoch:
            generator = np.random.default_rng([self._seed, _SHUFFLE, dataset, epoch])
            known = self._shuffled[dataset] = (epoch, generator.permutation(self._sizes[dataset]))
        return known[1]
