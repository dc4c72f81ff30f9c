"""Where a step is taken: in this process alone, or in all of those that `accelerate launch` started."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from st4vla.contracts.errors import MissingExtraError
from st4vla.training.loop.processes import Processes

T = TypeVar("T")
#: What Accelerate's launcher says to every process, and what torchrun does.
LAUNCHED = (("ACCELERATE_MIXED_PRECISION",), ("RANK", "LOCAL_RANK", "WORLD_SIZE"))


class World:
    """One process, and no other to agree with; nothing here changes a bit of what PyTorch does by itself.

    Attributes:
        processes: This process among those that share a step.
    """

    def __init__(self) -> None:
        self.processes = Processes()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.processes.rank == 0

    def first_only(self, action: Callable[[], T]) -> T:
        """Do something in the first process alone, and return in every process what it returned.

        Raises:
            St4vlaError: The first process raised it; all raise the same.
        """
        return action()

    def move(self, model: nn.Module) -> None:
        """Put a model where this process computes, for use before `prepare` or without it."""

    def widen(self, model: nn.Module) -> None:
        """Hold what learns in float32 if steps are computed in less; to be called before a state is loaded."""

    def prepare(
        self, step: nn.Module, optimiser: torch.optim.Optimizer, clip_norm: float
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return a module and its optimiser as they take steps, the module's parameters sharded if they are to be."""
        return step, optimiser

    def gather(self, losses: Tensor) -> Tensor:
        """Return every process's losses [count, N], for this process's [N]."""
        return losses[None]

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of the loss's mean over the processes to the parameters."""
        loss.backward()

    def clip(self, parameters: Sequence[nn.Parameter], clip_norm: float) -> float:
        """Scale the gradient down to a norm over all parameters and processes; return the norm before."""
        return float(nn.utils.clip_grad_norm_(parameters, clip_norm))

    def whole(self, tree: Any) -> Any:
        """Return a tree of mappings, sequences and values with whole tensors in place of sharded ones."""
        return tree

    def part(self, state: Mapping[str, Any], optimiser: torch.optim.Optimizer) -> Mapping[str, Any]:
        """Return an optimiser's whole state as this process's optimiser holds it."""
        return state

    def save_parts(self, folder: Path) -> bool:
        """Write what cannot be made whole into a folder of the state; return whether that is the optimiser."""
        return False

    def load_parts(self, folder: Path) -> bool:
        """Read what `save_parts` wrote, weights included; return whether that is the optimiser.

        Raises:
            ManifestError: It should be there and is not.
        """
        return False


def join_world() -> World:
    """Return the world of this process: that of Accelerate's launcher if it was started by one.

    Raises:
        MissingExtraError: It was, and Accelerate is not installed.
        UsageError: See `AcceleratedWorld`.
    """
    if not any(all(name in os.environ for name in names) for names in LAUNCHED):
        return World()
    try:
        from st4vla.training.loop.accelerated import AcceleratedWorld  # noqa: PLC0415
    except ImportError as error:
        msg = f"training on several processes needs Accelerate ({error}); pip install 'st4vla[train]'"
        raise MissingExtraError(msg) from error
    return AcceleratedWorld()
