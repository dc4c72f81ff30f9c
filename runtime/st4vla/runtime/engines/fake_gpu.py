"""A GPU of plain memory, for tests and for reading along: it checks what a real one would not say.

Work is done when a stream is synchronised, not before, and in the order in which it was put there; every address must
lie in memory that is allocated at that time.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from st4vla.contracts.errors import EngineError
from st4vla.runtime.engines.cuda import Bytes
from st4vla.runtime.engines.engine import Array

_GAP = 1 << 20
_ALIGNMENT = 256

Work = Callable[[], None]
#: What a fake engine computes: inputs by name to outputs by name.
Compute = Callable[[Mapping[str, Array]], Mapping[str, Array]]


class FakeGpu:
    """`Cuda` without a GPU.

    Attributes:
        calls: How often each thing was asked for.
        refuses_capture: Whether recording fails, as it does for some real engines.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.refuses_capture = False
        self._memory: dict[int, Bytes] = {}
        self._pinned: list[Bytes] = []
        self._streams: dict[int, list[Work]] = {}
        self._graphs: dict[int, list[Work]] = {}
        self._recording: dict[int, list[Work]] = {}
        self._threads: set[int] = set()
        self._next = _GAP

    @property
    def leaks(self) -> int:
        """How many allocations, streams and graphs were not given back."""
        return len(self._memory) + len(self._pinned) + len(self._streams) + len(self._graphs)

    def use(self) -> None:
        """Remember the thread."""
        self._threads.add(threading.get_ident())

    def compute_capability(self) -> tuple[int, int]:
        """Return that of an Orin."""
        return 8, 7

    def allocate(self, size: int) -> int:
        """Return an address far from every other."""
        self._count("allocate")
        pointer = self._new()
        self._memory[pointer] = np.zeros(size, np.uint8)
        self._next += -(-size // _GAP) * _GAP
        return pointer

    def free(self, pointer: int) -> None:
        """Free what `allocate` returned."""
        self._count("free")
        del self._memory[pointer]

    def allocate_pinned(self, size: int) -> Bytes:
        """Return memory."""
        self._count("allocate_pinned")
        self._pinned.append(np.zeros(size, np.uint8))
        return self._pinned[-1]

    def free_pinned(self, memory: Bytes) -> None:
        """Free what `allocate_pinned` returned."""
        self._count("free_pinned")
        index = next(index for index, each in enumerate(self._pinned) if each is memory)
        del self._pinned[index]

    def create_stream(self, *, urgent: bool) -> int:
        """Return a stream."""
        self._count("create_urgent_stream" if urgent else "create_stream")
        stream = self._new()
        self._streams[stream] = []
        return stream

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        self._count("destroy_stream")
        del self._streams[stream]

    def upload(self, target: int, source: Bytes, stream: int) -> None:
        """Copy when its turn comes: `source` must not change until then."""
        self._count("upload")

        def work() -> None:
            self.at(target, source.nbytes)[:] = source

        self.put(stream, work)

    def download(self, target: Bytes, source: int, stream: int) -> None:
        """Copy when its turn comes."""
        self._count("download")

        def work() -> None:
            target[:] = self.at(source, target.nbytes)

        self.put(stream, work)

    def synchronize(self, stream: int) -> None:
        """Do what was put into the stream."""
        self._count("synchronize")
        waiting, self._streams[stream] = self._streams[stream], []
        for work in waiting:
            work()

    def begin_capture(self, stream: int) -> None:
        """Record from now on."""
        self._count("begin_capture")
        self._recording[stream] = []

    def end_capture(self, stream: int) -> int:
        """Return the recording."""
        self._count("end_capture")
        recorded = self._recording.pop(stream)
        if self.refuses_capture:
            raise EngineError("cuStreamEndCapture failed with CUDA error 901: operation failed during capture")
        graph = self._new()
        self._graphs[graph] = recorded
        return graph

    def launch(self, graph: int, stream: int) -> None:
        """Put a recording into the stream."""
        self._count("launch")
        for work in self._graphs[graph]:
            self.put(stream, work)

    def destroy_graph(self, graph: int) -> None:
        """Forget a recording."""
        self._count("destroy_graph")
        del self._graphs[graph]

    def put(self, stream: int, work: Work) -> None:
        """Put work into a stream, or into what is recorded of it."""
        self._recording.get(stream, self._streams[stream]).append(work)

    def at(self, pointer: int, size: int) -> Bytes:
        """Return the memory at an address.

        Raises:
            EngineError: It is not allocated, or not so much of it.
        """
        for start, memory in self._memory.items():
            if start <= pointer and pointer + size <= start + memory.nbytes:
                return memory[pointer - start : pointer - start + size]
        msg = f"{size} bytes at {pointer:#x} are not in allocated memory"
        raise EngineError(msg)

    def _new(self) -> int:
        self._next += _GAP
        return self._next

    def _count(self, name: str) -> None:
        if threading.get_ident() not in self._threads:
            msg = f"{name} in a thread in which the GPU is not current; call use() first"
            raise EngineError(msg)
        self.calls[name] += 1


class FakeEngine:
    """An `ICudaEngine` that computes with numpy on a `FakeGpu`.

    Args:
        gpu: Where its tensors lie.
        dtypes: Of its tensors, inputs first.
        inputs: How many of them are inputs.
        compute: What it does.
    """

    def __init__(self, gpu: FakeGpu, dtypes: Mapping[str, str], inputs: int, compute: Compute) -> None:
        self.gpu, self.dtypes, self.compute = gpu, dtypes, compute
        self.names = list(dtypes)
        self.input_names = self.names[:inputs]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index: int) -> str:
        """Return a name."""
        return self.names[index]

    def create_execution_context(self) -> FakeContext:
        """Return a context."""
        return FakeContext(self)


class FakeContext:
    """An `IExecutionContext`: addresses and shapes are those of the moment at which it is executed."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        """Set a shape."""
        self._shapes[name] = tuple(shape)
        return name in self._engine.input_names

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Return a shape; those of outputs follow from what is computed for inputs of zeros."""
        if name not in self._engine.input_names:
            zeros = {each: np.zeros(self._shapes[each], self._engine.dtypes[each]) for each in self._engine.input_names}
            return self._engine.compute(zeros)[name].shape
        return self._shapes[name]

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        """Set an address, which must be aligned."""
        self._addresses[name] = pointer
        return pointer % _ALIGNMENT == 0

    def execute_async_v3(self, stream: int) -> bool:
        """Put the computation into a stream."""
        engine, addresses, shapes = self._engine, dict(self._addresses), dict(self._shapes)

        def view(name: str, shape: tuple[int, ...]) -> Any:
            dtype = np.dtype(engine.dtypes[name])
            size = int(np.prod(shape)) * dtype.itemsize
            return engine.gpu.at(addresses[name], size).view(dtype).reshape(shape)

        def work() -> None:
            answers = engine.compute({name: view(name, shapes[name]) for name in engine.input_names})
            for name, value in answers.items():
                view(name, value.shape)[...] = value

        engine.gpu.put(stream, work)
        return True
