"""ONNX Runtime: the CPU's back end, and the one that every machine can have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.errors import BackendUnavailableError, EngineError
from st4vla.contracts.tensor_spec import GraphTensors
from st4vla.runtime.engines.backend import Availability, Progress, no_progress
from st4vla.runtime.engines.engine import Array, Engine

CPU_PROVIDER = "CPUExecutionProvider"


class OnnxRuntimeEngine(Engine):
    """A session on the CPU."""

    def __init__(self, tensors: GraphTensors, session: Any) -> None:
        super().__init__(tensors)
        self._session = session
        self._output_names = [spec.name for spec in tensors.outputs]

    def _run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            values = self._session.run(self._output_names, dict(feeds))
        except Exception as error:
            msg = f"engine {self.name!r} failed: {error}"
            raise EngineError(msg) from error
        return dict(zip(self._output_names, values, strict=True))

    def close(self) -> None:
        """Drop the session and its arena."""
        self._session = None


class OnnxRuntimeBackend:
    """Compile by graph optimisation for this processor, and run on the CPU."""

    name = "onnxruntime"

    def availability(self) -> Availability:
        """Say whether the library imports and offers its CPU provider."""
        try:
            library = _library()
        except BackendUnavailableError as error:
            return Availability(usable=False, reason=str(error), remedy="pip install 'st4vla[cpu]'")
        return Availability(usable=True, reason="runs on the CPU", version=str(library.__version__))

    def compile(
        self, graph: Path, target: Path, tensors: GraphTensors, *, cache: Path, progress: Progress = no_progress
    ) -> None:
        """Write the graph as ONNX Runtime optimised it for this processor, which takes a moment and nothing to keep.

        Raises:
            EngineError: ONNX Runtime refused the graph.
        """
        del tensors, cache, progress
        library = _library()
        options = _session_options(library, threads=1)
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(target)
        _session(library, graph, options)

    def load(self, path: Path, tensors: GraphTensors, *, threads: int = 0, urgent: bool = False) -> OnnxRuntimeEngine:
        """Open a session on an optimised graph; on a CPU nothing is urgent.

        Raises:
            EngineError: It cannot be loaded, or its tensors have other names than the bundle's.
        """
        del urgent
        library = _library()
        options = _session_options(library, threads)
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = _session(library, path, options)
        found = [entry.name for entry in session.get_inputs()], [entry.name for entry in session.get_outputs()]
        expected = [spec.name for spec in tensors.inputs], [spec.name for spec in tensors.outputs]
        if found != expected:
            msg = f"{path} takes {found[0]} and returns {found[1]}; the bundle says {expected[0]} and {expected[1]}"
            raise EngineError(msg)
        return OnnxRuntimeEngine(tensors, session)


def _library() -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 - an engine library is loaded when it is chosen, not before
    except ImportError as error:
        msg = f"onnxruntime is not installed ({error}); install it with: pip install 'st4vla[cpu]'"
        raise BackendUnavailableError(msg) from error
    return onnxruntime


def _session_options(library: Any, threads: int) -> Any:
    options = library.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would take the core on which the other system runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _session(library: Any, path: Path, options: Any) -> Any:
    try:
        session = library.InferenceSession(str(path), options, providers=[CPU_PROVIDER])
    except Exception as error:
        msg = f"ONNX Runtime {library.__version__} refuses {path}: {error}"
        raise EngineError(msg) from error
    if CPU_PROVIDER not in session.get_providers():
        msg = f"ONNX Runtime {library.__version__} gave {session.get_providers()}, not {CPU_PROVIDER}"
        raise EngineError(msg)
    return session
