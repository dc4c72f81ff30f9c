"""The protocol that every compiled graph answers."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from st4vla.contracts.tensor_spec import TensorSpec, check_feeds

Array = npt.NDArray[Any]


class Engine(abc.ABC):
    """A compiled graph, used as a context manager.

    Args:
        name: The graph's name.
        inputs: What `run` takes.
        outputs: What it returns.
    """

    def __init__(self, name: str, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self.name = name
        self.inputs = inputs
        self.outputs = outputs

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once.

        Args:
            feeds: One array per input, by name.

        Returns:
            One array per output, by name.

        Raises:
            EngineInputError: A name, dtype or shape that is not the input's.
            EngineError: The engine library failed.
        """
        check_feeds(self.name, self.inputs, feeds)
        return self._run(feeds)

    def warm_up(self, feeds: Mapping[str, Array], runs: int = 3) -> None:
        """Run a few times and throw the outputs away, so that first-call costs fall before the first robot's frame."""
        for _ in range(runs):
            self.run(feeds)

    @abc.abstractmethod
    def _run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run with feeds that have been checked."""

    def close(self) -> None:
        """Free the engine; it may not be run again. The default keeps nothing."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def zeros(spec: TensorSpec, sizes: Mapping[str, int]) -> Array:
    """Return zeros of a spec; `sizes` gives each dynamic dimension its size."""
    shape = tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape)
    return np.zeros(shape, np.dtype(spec.dtype))
