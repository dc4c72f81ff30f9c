"""A TensorRT engine at run time: buffers that are made once, and CUDA graphs of what was run before.

The first call with new sizes runs eagerly; what it did is then recorded, and later calls launch the recording: uploads,
kernels of all steps and downloads are one launch. Between steps nothing leaves the GPU.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from st4vla.contracts.errors import EngineError
from st4vla.contracts.tensor_spec import GraphTensors, SizeRange, TensorSpec
from st4vla.runtime.engines.cuda import Bytes, Cuda
from st4vla.runtime.engines.engine import Array, Engine

_LOGGER = logging.getLogger(__name__)

#: TensorRT wants addresses aligned so.
ALIGNMENT = 256
#: Recordings that are kept; a prompt of another length needs another one.
MAX_GRAPHS = 16

Shapes = tuple[tuple[int, ...], ...]


@dataclass
class _Slot:
    """A tensor's place on the device, and its page-locked place on the host; both `size` bytes or more."""

    device: int
    host: Bytes


class TensorRtEngine(Engine):
    """An engine on the GPU, used from one thread at a time.

    Args:
        tensors: What goes in and comes out; buffers are made for the largest sizes.
        engine: An `ICudaEngine`.
        cuda: The GPU.
        urgent: Whether its kernels go before those of other engines.

    Raises:
        EngineError: The engine's tensors are not the bundle's, or the GPU has not enough memory.
    """

    def __init__(self, tensors: GraphTensors, engine: Any, cuda: Cuda, *, urgent: bool) -> None:
        super().__init__(tensors)
        name, every = tensors.name, (*tensors.inputs, *tensors.outputs)
        found = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
        expected = {spec.name for spec in every}
        if found != expected:
            msg = f"engine {name!r} has the tensors {sorted(found)}; the bundle says {sorted(expected)}"
            raise EngineError(msg)
        cuda.use()
        self._cuda, self._engine = cuda, engine
        self._context = engine.create_execution_context()
        if self._context is None:
            msg = f"engine {name!r}: there is not enough GPU memory to run it; free some, or use a smaller precision"
            raise EngineError(msg)
        self._stream = cuda.create_stream(urgent=urgent)
        self._sizes = tensors.sizes
        self._slots = {spec.name: self._slot(_most_bytes(spec, tensors.sizes)) for spec in every}
        #: What steps differ in, one row a step; and the second buffer of what is handed on. Both made when needed.
        self._tables: dict[str, _Slot] = {}
        self._others: dict[str, int] = {}
        self._shapes: Shapes = ()
        self._graphs: OrderedDict[tuple[Shapes, int, tuple[str, ...]], int] = OrderedDict()
        self._recordable = True

    def _run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return self._iterate(feeds, ({},), {})

    def _iterate(
        self, feeds: Mapping[str, Array], steps: Sequence[Mapping[str, Array]], carried: Mapping[str, str]
    ) -> dict[str, Array]:
        cuda = self._cuda
        cuda.use()
        first = {**feeds, **steps[0]}
        shapes = tuple(first[spec.name].shape for spec in self.inputs)
        self._set_shapes(shapes)
        varying = tuple(sorted(steps[0]))
        self._stage(feeds, steps, varying)
        key = (shapes, len(steps), varying)
        graph = self._graphs.get(key)
        if graph is None:
            self._enqueue(first, len(steps), varying, carried)
            cuda.synchronize(self._stream)
            answers = self._answers()
            self._record(key, first, carried)
            return answers
        self._graphs.move_to_end(key)
        cuda.launch(graph, self._stream)
        cuda.synchronize(self._stream)
        return self._answers()

    def close(self) -> None:
        """Free everything on the GPU."""
        cuda = self._cuda
        cuda.use()
        cuda.synchronize(self._stream)
        for graph in self._graphs.values():
            cuda.destroy_graph(graph)
        self._graphs.clear()
        # The context and the engine hold memory of their own, which goes with the last reference.
        self._context = self._engine = None
        for slot in (*self._slots.values(), *self._tables.values()):
            cuda.free(slot.device)
            cuda.free_pinned(slot.host)
        for pointer in self._others.values():
            cuda.free(pointer)
        self._slots, self._tables, self._others = {}, {}, {}
        cuda.destroy_stream(self._stream)

    def _slot(self, size: int) -> _Slot:
        return _Slot(self._cuda.allocate(size), self._cuda.allocate_pinned(size))

    def _set_shapes(self, shapes: Shapes) -> None:
        if shapes == self._shapes:
            return
        for spec, shape in zip(self.inputs, shapes, strict=True):
            for size, actual in zip(spec.shape, shape, strict=True):
                if isinstance(size, str) and not self._sizes[size].smallest <= actual <= self._sizes[size].largest:
                    allowed = self._sizes[size]
                    msg = (
                        f"engine {self.name!r}, input {spec}: {size} = {actual}, but it was built for "
                        f"{allowed.smallest} to {allowed.largest}"
                    )
                    raise EngineError(msg)
            if not self._context.set_input_shape(spec.name, shape):
                msg = f"engine {self.name!r} refuses the shape {list(shape)} of input {spec}"
                raise EngineError(msg)
        self._shapes = shapes

    def _stage(self, feeds: Mapping[str, Array], steps: Sequence[Mapping[str, Array]], varying: Sequence[str]) -> None:
        """Put what is given into page-locked memory, from which recordings upload it."""
        for name, array in feeds.items():
            _fill(self._slots[name].host, array)
        for name in varying:
            row = _row_bytes(steps[0][name])
            size = row * len(steps)
            table = self._tables.get(name)
            if table is None or table.host.nbytes < size:
                self._forget(name)
                table = self._tables[name] = self._slot(size)
            for index, step in enumerate(steps):
                _fill(table.host[index * row :], step[name])

    def _forget(self, name: str) -> None:
        """Drop a table that has become too small, and the recordings that read it."""
        for graph in self._graphs.values():
            self._cuda.destroy_graph(graph)
        self._graphs.clear()
        table = self._tables.pop(name, None)
        if table is not None:
            self._cuda.free(table.device)
            self._cuda.free_pinned(table.host)

    def _enqueue(
        self, first: Mapping[str, Array], count: int, varying: Sequence[str], carried: Mapping[str, str]
    ) -> None:
        """Put uploads, all steps and downloads into the stream."""
        cuda, context, stream = self._cuda, self._context, self._stream
        for spec in self.inputs:
            if spec.name not in varying:
                slot = self._slots[spec.name]
                cuda.upload(slot.device, slot.host[: first[spec.name].nbytes], stream)
        rows = {name: _row_bytes(first[name]) for name in varying}
        for name, row in rows.items():
            table = self._tables[name]
            cuda.upload(table.device, table.host[: row * count], stream)
        where = {name: slot.device for name, slot in self._slots.items()}
        for source, target in carried.items():
            # An output that becomes an input changes places with it, so that no step writes what it reads.
            if source not in self._others:
                spec = next(spec for spec in self.outputs if spec.name == source)
                self._others[source] = cuda.allocate(_most_bytes(spec, self._sizes))
            where[source] = self._others[source]
            where[target] = self._slots[target].device
        for index in range(count):
            for name, row in rows.items():
                where[name] = self._tables[name].device + index * row
            for name, pointer in where.items():
                if not context.set_tensor_address(name, pointer):
                    msg = f"engine {self.name!r} refuses the address of {name}"
                    raise EngineError(msg)
            if not context.execute_async_v3(stream):
                msg = f"engine {self.name!r} failed; TensorRT's log says why"
                raise EngineError(msg)
            last = dict(where)
            for source, target in carried.items():
                where[source], where[target] = where[target], where[source]
        for spec in self.outputs:
            size = prod(context.get_tensor_shape(spec.name)) * np.dtype(spec.dtype).itemsize
            cuda.download(self._slots[spec.name].host[:size], last[spec.name], stream)

    def _record(
        self, key: tuple[Shapes, int, tuple[str, ...]], first: Mapping[str, Array], carried: Mapping[str, str]
    ) -> None:
        if not self._recordable:
            return
        cuda = self._cuda
        try:
            cuda.begin_capture(self._stream)
            try:
                self._enqueue(first, key[1], key[2], carried)
            finally:
                graph = cuda.end_capture(self._stream)
        except EngineError as error:
            self._recordable = False
            _LOGGER.warning("engine %r cannot be recorded as a CUDA graph and runs step by step: %s", self.name, error)
            return
        self._graphs[key] = graph
        if len(self._graphs) > MAX_GRAPHS:
            cuda.destroy_graph(self._graphs.popitem(last=False)[1])

    def _answers(self) -> dict[str, Array]:
        answers: dict[str, Array] = {}
        for spec in self.outputs:
            shape = tuple(self._context.get_tensor_shape(spec.name))
            dtype = np.dtype(spec.dtype)
            flat = self._slots[spec.name].host[: prod(shape) * dtype.itemsize]
            answers[spec.name] = flat.view(dtype).reshape(shape).copy()
        return answers


def _most_bytes(spec: TensorSpec, sizes: Mapping[str, SizeRange]) -> int:
    largest = (sizes[size].largest if isinstance(size, str) else size for size in spec.shape)
    return max(1, prod(largest)) * np.dtype(spec.dtype).itemsize


def _row_bytes(array: Array) -> int:
    return -(-array.nbytes // ALIGNMENT) * ALIGNMENT


def _fill(target: Bytes, array: Array) -> None:
    target[: array.nbytes] = np.ascontiguousarray(array).view(np.uint8).ravel()
