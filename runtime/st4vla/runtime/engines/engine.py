"""The protocol that every compiled graph answers."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from st4vla.contracts.tensor_spec import GraphTensors, TensorSpec, check_feeds

Array = npt.NDArray[Any]


class Engine(abc.ABC):
    """A compiled graph, used as a context manager.

    Args:
        tensors: What `run` takes, and what it returns.
    """

    def __init__(self, tensors: GraphTensors) -> None:
        self.name, self.inputs, self.outputs = tensors.name, tensors.inputs, tensors.outputs

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

    def iterate(
        self, feeds: Mapping[str, Array], steps: Sequence[Mapping[str, Array]], carried: Mapping[str, str]
    ) -> dict[str, Array]:
        """Run the graph once a step, and hand some outputs on to the next one.

        Args:
            feeds: The inputs that every step is given, and those that the first one is.
            steps: The inputs that differ from step to step; at least one step.
            carried: Name of an output to the name of the input that it becomes.

        Returns:
            The outputs of the last step, by name.

        Raises:
            EngineInputError: As for `run`, for the first step.
            EngineError: The engine library failed.
        """
        check_feeds(self.name, self.inputs, {**feeds, **steps[0]})
        return self._iterate(feeds, steps, carried)

    def warm_up(self, feeds: Mapping[str, Array], runs: int = 3) -> None:
        """Run a few times and throw the outputs away, so that first-call costs fall before the first robot's frame."""
        for _ in range(runs):
            self.run(feeds)

    @abc.abstractmethod
    def _run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run with feeds that have been checked."""

    def _iterate(
        self, feeds: Mapping[str, Array], steps: Sequence[Mapping[str, Array]], carried: Mapping[str, str]
    ) -> dict[str, Array]:
        """Iterate with feeds that have been checked. The default goes by way of the host."""
        values, outputs = dict(feeds), dict[str, Array]()
        for step in steps:
            outputs = self._run({**values, **step})
            values |= {target: outputs[source] for source, target in carried.items()}
        return outputs

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
