"""An ONNX Runtime session at run time: inputs are bound where they lie, and steps run in buffers that are made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from st4vla.contracts.errors import EngineError
from st4vla.contracts.tensor_spec import GraphTensors, TensorSpec
from st4vla.runtime.engines.engine import Array, Engine

#: An output of so many bytes or fewer is copied out of a buffer that is kept: binding a new one would take longer.
COPIED_BYTES = 1 << 18


@dataclass(frozen=True)
class _Chain:
    """Steps that are bound: running them in turn takes one call each, and nothing is copied between them.

    Attributes:
        key: What it was made for.
        given: Buffers of the inputs that do not differ from step to step, by name.
        rows: For each step, buffers of those that do.
        bindings: One for each step.
        sides: Where every other step writes its outputs, and where the steps between write theirs, by name. A binding
            knows no more of an output than its address, so that this is what keeps them.
    """

    key: tuple[Any, ...]
    given: Mapping[str, Array]
    rows: Sequence[Mapping[str, Array]]
    bindings: Sequence[Any]
    sides: Sequence[Mapping[str, Array]]

    @property
    def answers(self) -> Mapping[str, Array]:
        """Where the last step writes its outputs, by name."""
        return self.sides[(len(self.bindings) - 1) % 2]


class OnnxRuntimeEngine(Engine):
    """A session on the CPU, used from one thread at a time.

    What it returns belongs to the caller, and no later run writes there: large outputs are written straight into new
    arrays, small ones are copied out of buffers of the engine's own.

    Args:
        tensors: What goes in and comes out.
        session: An `InferenceSession`.

    Raises:
        EngineError: An output has a dimension that no input has, so that no buffer could be made for it.
    """

    def __init__(self, tensors: GraphTensors, session: Any) -> None:
        super().__init__(tensors)
        self._session, self._binding = session, session.io_binding()
        #: Where the size of a dynamic dimension is read: an input's name, and which of its dimensions.
        self._sizes = {
            size: (spec.name, axis)
            for spec in tensors.inputs
            for axis, size in enumerate(spec.shape)
            if isinstance(size, str)
        }
        for spec in tensors.outputs:
            unknown = [size for size in spec.shape if isinstance(size, str) and size not in self._sizes]
            if unknown:
                msg = f"engine {self.name!r}, output {spec}: no input has the dimension {unknown[0]}; export it again"
                raise EngineError(msg)
        #: For the shapes of outputs that were bound last: the small ones' buffers, and what the large ones look like.
        self._shapes: tuple[tuple[int, ...], ...] | None = None
        self._kept: dict[str, Array] = {}
        self._large: list[tuple[TensorSpec, tuple[int, ...]]] = []
        self._chain: _Chain | None = None

    def _run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            self._bind_kept(feeds)
            answers = {spec.name: _empty(spec, shape) for spec, shape in self._large}
            for name, array in answers.items():
                _bind_output(self._binding, name, array)
            for name, array in feeds.items():
                self._binding.bind_cpu_input(name, array)
            self._session.run_with_iobinding(self._binding)
            return answers | {name: buffer.copy() for name, buffer in self._kept.items()}
        except Exception as error:
            raise self._failure(error) from error

    def _iterate(
        self, feeds: Mapping[str, Array], steps: Sequence[Mapping[str, Array]], carried: Mapping[str, str]
    ) -> dict[str, Array]:
        try:
            chain = self._bound(feeds, steps, carried)
            for name, buffer in chain.given.items():
                np.copyto(buffer, feeds[name], casting="no")
            for row, step in zip(chain.rows, steps, strict=True):
                for name, buffer in row.items():
                    np.copyto(buffer, step[name], casting="no")
            run = self._session.run_with_iobinding
            for binding in chain.bindings:
                run(binding)
            return {name: buffer.copy() for name, buffer in chain.answers.items()}
        except Exception as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Drop the session, its arena and what is bound to it."""
        self._chain = self._binding = self._session = None

    def _bind_kept(self, feeds: Mapping[str, Array]) -> None:
        """Bind buffers for small outputs, unless those of the last run fit."""
        shapes = self._output_shapes(feeds)
        if shapes == self._shapes:
            return
        self._shapes, self._kept, self._large = None, {}, []
        for spec, shape in zip(self.outputs, shapes, strict=True):
            if prod(shape) * np.dtype(spec.dtype).itemsize > COPIED_BYTES:
                self._large.append((spec, shape))
            else:
                self._kept[spec.name] = _empty(spec, shape)
                _bind_output(self._binding, spec.name, self._kept[spec.name])
        self._shapes = shapes

    def _bound(
        self, feeds: Mapping[str, Array], steps: Sequence[Mapping[str, Array]], carried: Mapping[str, str]
    ) -> _Chain:
        """Return the chain for such feeds and steps; the last one is kept."""
        first = {**feeds, **steps[0]}
        key = (tuple(first[spec.name].shape for spec in self.inputs), len(steps), *steps[0], *carried.items())
        if self._chain is None or self._chain.key != key:
            self._chain = self._bind_steps(key, first, steps, carried)
        return self._chain

    def _bind_steps(
        self,
        key: tuple[Any, ...],
        first: Mapping[str, Array],
        steps: Sequence[Mapping[str, Array]],
        carried: Mapping[str, str],
    ) -> _Chain:
        given = {name: np.empty(array.shape, array.dtype) for name, array in first.items() if name not in steps[0]}
        rows = [{name: np.empty(first[name].shape, first[name].dtype) for name in steps[0]} for _ in steps]
        shaped = list(zip(self.outputs, self._output_shapes(first), strict=True))
        # A step writes what is carried where the one before it did not, since it still reads from there.
        sides = [{spec.name: _empty(spec, shape) for spec, shape in shaped} for _ in range(2)]
        bindings = []
        for index, row in enumerate(rows):
            before, after = sides[(index + 1) % 2], sides[index % 2]
            handed = {target: before[source] for source, target in carried.items()} if index else {}
            binding = self._session.io_binding()
            for name, array in {**given, **handed, **row}.items():
                binding.bind_cpu_input(name, array)
            for name, array in after.items():
                _bind_output(binding, name, array)
            bindings.append(binding)
        return _Chain(key, given, rows, bindings, sides)

    def _output_shapes(self, feeds: Mapping[str, Array]) -> tuple[tuple[int, ...], ...]:
        sizes = {size: feeds[name].shape[axis] for size, (name, axis) in self._sizes.items()}
        return tuple(
            tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape) for spec in self.outputs
        )

    def _failure(self, error: Exception) -> EngineError:
        return EngineError(f"engine {self.name!r} failed: {error}")


def _empty(spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    return np.empty(shape, np.dtype(spec.dtype))


def _bind_output(binding: Any, name: str, array: Array) -> None:
    """Have an output written into an array, which the caller must keep for as long as the binding is run."""
    binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
