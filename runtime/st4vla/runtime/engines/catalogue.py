"""The back ends there are, best first, and the one that this machine uses."""

from __future__ import annotations

from st4vla.contracts.errors import BackendUnavailableError, UsageError
from st4vla.runtime.engines.backend import Backend
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.engines.tensorrt_backend import TensorRtBackend

BACKENDS: tuple[Backend, ...] = (
    TensorRtBackend("tensorrt", "comes with JetPack; elsewhere: pip install 'st4vla[tensorrt]'"),
    TensorRtBackend("tensorrt_rtx", "pip install 'st4vla[rtx]'"),
    OnnxRuntimeBackend(),
)


def choose_backend(name: str | None = None) -> Backend:
    """Return the named back end, or the best one that this machine can use.

    Raises:
        UsageError: No back end of that name.
        BackendUnavailableError: The one that was named, or all of them, cannot be used here.
    """
    names = ", ".join(backend.name for backend in BACKENDS)
    candidates = [backend for backend in BACKENDS if name in (None, backend.name)]
    if not candidates:
        msg = f"unknown back end {name!r}; known are {names}"
        raise UsageError(msg)
    found = [(backend, backend.availability()) for backend in candidates]
    for backend, availability in found:
        if availability.usable:
            return backend
    reasons = "; ".join(f"{backend.name}: {availability.reason}" for backend, availability in found)
    msg = f"no engine library can be used here ({reasons}); `st4vla doctor` says what to install"
    raise BackendUnavailableError(msg)
