"""ONNX Runtime: the CPU's back end, and the one that every machine can have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from st4vla.contracts.errors import BackendUnavailableError, EngineError
from st4vla.contracts.manifests import CpuSettings
from st4vla.contracts.tensor_spec import GraphTensors
from st4vla.runtime.engines.backend import Availability, Progress, no_progress
from st4vla.runtime.engines.onnx_runtime_engine import OnnxRuntimeEngine

CPU_PROVIDER = "CPUExecutionProvider"
#: Weights below so many bytes stay in the graph, as they must in a bundle: ONNX Runtime reads no shapes from a file
#: beside it, and version 1.20 would leave smaller ones in the bundle's.
INLINE_BYTES = "1024"


class OnnxRuntimeBackend:
    """Compile by graph optimisation for this processor, and run on the CPU."""

    name = "onnxruntime"
    on_cpu = True

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

        Its weights lie beside it in ``TARGET.data``: a file of the graph alone cannot be larger than 2 GB, and one that
        refers to the bundle's could not go without it.

        Raises:
            EngineError: ONNX Runtime refused the graph.
        """
        del tensors, cache, progress
        library = _library()
        options = _session_options(library, CpuSettings(threads=1))
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(target)
        # The name alone: it is looked for beside the graph, wherever that goes.
        entry = "session.optimized_model_external_initializers"
        options.add_session_config_entry(f"{entry}_file_name", f"{target.name}.data")
        options.add_session_config_entry(f"{entry}_min_size_in_bytes", INLINE_BYTES)
        _session(library, graph, options)

    def load(
        self, path: Path, tensors: GraphTensors, *, cpu: CpuSettings | None = None, urgent: bool = False
    ) -> OnnxRuntimeEngine:
        """Open a session on an optimised graph; on a CPU nothing is urgent.

        Raises:
            EngineError: It cannot be loaded, or its tensors have other names than the bundle's.
        """
        del urgent
        library = _library()
        options = _session_options(library, cpu or CpuSettings(threads=1))
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


def _session_options(library: Any, cpu: CpuSettings) -> Any:
    options = library.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = cpu.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(cpu.spinning)))
    # When a run has ended, the cores belong to the engine that runs next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
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
