"""The part of CUDA that engines need: memory, streams and graphs, through the driver that every GPU machine has."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import BackendUnavailableError, EngineError

Bytes = npt.NDArray[np.uint8]

_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
# A capture must not be disturbed by what other threads do on their own streams.
_CAPTURE_THREAD_LOCAL = 1


class Cuda(Protocol):
    """What engines ask of a GPU. Pointers, streams and graphs are plain integers; sizes are bytes.

    Every method may raise `EngineError` with the driver's own words.
    """

    def use(self) -> None:
        """Make the GPU current in the calling thread; before anything else in it."""
        ...

    def compute_capability(self) -> tuple[int, int]:
        """Return for example (8, 7)."""
        ...

    def allocate(self, size: int) -> int:
        """Return device memory, aligned to 256 bytes at least."""
        ...

    def free(self, pointer: int) -> None:
        """Free device memory."""
        ...

    def allocate_pinned(self, size: int) -> Bytes:
        """Return page-locked host memory, which a GPU copies from while the CPU goes on."""
        ...

    def free_pinned(self, memory: Bytes) -> None:
        """Free page-locked memory."""
        ...

    def create_stream(self, *, urgent: bool) -> int:
        """Return a stream; kernels of urgent ones are scheduled before those of others."""
        ...

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        ...

    def upload(self, target: int, source: Bytes, stream: int) -> None:
        """Copy page-locked memory to the device, in the stream's order."""
        ...

    def download(self, target: Bytes, source: int, stream: int) -> None:
        """Copy from the device to page-locked memory, in the stream's order."""
        ...

    def synchronize(self, stream: int) -> None:
        """Wait until all that was put into the stream is done."""
        ...

    def begin_capture(self, stream: int) -> None:
        """Record what is put into the stream from now on instead of doing it."""
        ...

    def end_capture(self, stream: int) -> int:
        """Return what was recorded as a graph that can be launched."""
        ...

    def launch(self, graph: int, stream: int) -> None:
        """Put a recorded graph into the stream."""
        ...

    def destroy_graph(self, graph: int) -> None:
        """Destroy a recorded graph."""
        ...


class CudaDriver:
    """`Cuda` on the first GPU, by the driver's C interface.

    Args:
        library: The driver, as `ctypes` loaded it.

    Raises:
        BackendUnavailableError: There is no GPU that can be used.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        try:
            self._call("cuInit", 0)
            count = ctypes.c_int()
            self._call("cuDeviceGetCount", ctypes.byref(count))
            if count.value == 0:
                raise BackendUnavailableError("the NVIDIA driver sees no GPU")
            self._device, self._context = ctypes.c_int(), ctypes.c_void_p()
            self._call("cuDeviceGet", ctypes.byref(self._device), 0)
            # The context that the CUDA runtime inside the engine library uses too.
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
            self.use()
        except EngineError as error:
            msg = f"no GPU can be used: {error}"
            raise BackendUnavailableError(msg) from error

    def use(self) -> None:
        """Make the GPU current in the calling thread."""
        self._call("cuCtxSetCurrent", self._context)

    def compute_capability(self) -> tuple[int, int]:
        """Return major and minor."""
        return self._attribute(_CAPABILITY_MAJOR), self._attribute(_CAPABILITY_MINOR)

    def allocate(self, size: int) -> int:
        """Return device memory."""
        pointer = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(size))
        return pointer.value

    def free(self, pointer: int) -> None:
        """Free device memory."""
        self._call("cuMemFree_v2", ctypes.c_uint64(pointer))

    def allocate_pinned(self, size: int) -> Bytes:
        """Return page-locked memory."""
        pointer = ctypes.c_void_p()
        self._call("cuMemHostAlloc", ctypes.byref(pointer), ctypes.c_size_t(size), ctypes.c_uint(0))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer.value or 0))

    def free_pinned(self, memory: Bytes) -> None:
        """Free page-locked memory."""
        self._call("cuMemFreeHost", _address(memory))

    def create_stream(self, *, urgent: bool) -> int:
        """Return a stream that waits for no other."""
        least, greatest, stream = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
        self._call("cuCtxGetStreamPriorityRange", ctypes.byref(least), ctypes.byref(greatest))
        non_blocking = ctypes.c_uint(1)
        self._call("cuStreamCreateWithPriority", ctypes.byref(stream), non_blocking, greatest if urgent else least)
        return stream.value or 0

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        self._call("cuStreamDestroy_v2", ctypes.c_void_p(stream))

    def upload(self, target: int, source: Bytes, stream: int) -> None:
        """Copy to the device."""
        size, order = ctypes.c_size_t(source.nbytes), ctypes.c_void_p(stream)
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(target), _address(source), size, order)

    def download(self, target: Bytes, source: int, stream: int) -> None:
        """Copy from the device."""
        size, order = ctypes.c_size_t(target.nbytes), ctypes.c_void_p(stream)
        self._call("cuMemcpyDtoHAsync_v2", _address(target), ctypes.c_uint64(source), size, order)

    def synchronize(self, stream: int) -> None:
        """Wait for a stream."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def begin_capture(self, stream: int) -> None:
        """Record a stream."""
        self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(_CAPTURE_THREAD_LOCAL))

    def end_capture(self, stream: int) -> int:
        """Return what was recorded, instantiated."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        finally:
            self._call("cuGraphDestroy", graph)
        return executable.value or 0

    def launch(self, graph: int, stream: int) -> None:
        """Launch a graph."""
        self._call("cuGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))

    def destroy_graph(self, graph: int) -> None:
        """Destroy a graph."""
        self._call("cuGraphExecDestroy", ctypes.c_void_p(graph))

    def _attribute(self, attribute: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), self._device)
        return value.value

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            function = getattr(self._library, name)
        except AttributeError as error:
            msg = f"the NVIDIA driver is too old: it has no {name}; CUDA 11.4 is the oldest that has"
            raise EngineError(msg) from error
        status = function(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(status, ctypes.byref(text))
            said = text.value.decode() if text.value else "an error that it does not know"
            msg = f"{name} failed with CUDA error {status}: {said}"
            raise EngineError(msg)


@cache
def first_gpu() -> CudaDriver:
    """Return the first GPU of this machine.

    Raises:
        BackendUnavailableError: There is no driver, or no GPU that can be used.
    """
    names: Sequence[str] = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
    for name in names:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        return CudaDriver(library)
    raise BackendUnavailableError("there is no NVIDIA driver on this machine (libcuda.so.1)")


def _address(memory: Bytes) -> ctypes.c_void_p:
    return ctypes.c_void_p(memory.ctypes.data)
