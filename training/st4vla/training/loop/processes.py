"""The processes that share a step: each takes its part of a batch; together they minimise what one alone would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

from st4vla.contracts.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among those that share a step.

    Attributes:
        rank: Its number, from 0.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    def part(self, whole: Sequence[T]) -> Sequence[T]:
        """Return this process's part of a batch: every `count`-th from `rank` on, so that parts are alike in kind.

        Raises:
            UsageError: The batch does not divide among the processes.
        """
        if len(whole) % self.count:
            msg = f"a batch of {len(whole)} for {self.count} processes; make it a multiple of that"
            raise UsageError(msg)
        return whole[self.rank :: self.count]

    def mean(self, total: Tensor, number: Tensor) -> Tensor:
        """Return a share of the mean over all processes' parts: averaged over the processes it is that mean.

        A mean of the parts' own means would weigh what a part has few of more heavily than what another has many of.

        Args:
            total: This part's sum, a scalar.
            number: How many it sums, a scalar.
        """
        everywhere = number.detach().to(torch.float32).clone()
        if self.count > 1:
            distributed.all_reduce(everywhere)
        # In this order, one process has the bits of PyTorch's own mean.
        return total * self.count / everywhere.clamp(min=1)
