"""Compile an ONNX file with TensorRT: one code path for versions 10.3 to 11 and for TensorRT-RTX.

Networks are strongly typed: what precision each layer has is in the graph, not in flags that differ between versions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from st4vla.contracts.errors import EngineError, StorageError
from st4vla.contracts.files import write_atomically
from st4vla.contracts.tensor_spec import GraphTensors, SizeRange
from st4vla.runtime.engines.backend import Progress, no_progress


def build_engine(
    library: Any,
    graph: Path,
    tensors: GraphTensors,
    *,
    timing_cache: Path | None = None,
    compute_capability: str | None = None,
    progress: Progress = no_progress,
) -> memoryview:
    """Return a serialised engine, in the memory that the builder left it in: it may be most of what a device has.

    Args:
        library: `tensorrt` or `tensorrt_rtx`.
        graph: The ONNX file; weights beside it are found.
        tensors: What goes in and comes out.
        timing_cache: Where measured kernels are kept from one build to the next; None keeps none. Not used by
            TensorRT-RTX, which measures where the engine is loaded.
        compute_capability: Build for this one, for example ``SM86``, on a machine that need not have it; TensorRT-RTX
            alone can. None is for the GPU of this machine.
        progress: Called while it builds.

    Raises:
        EngineError: The parser or the builder refuses the graph; the message holds what it said.
        StorageError: The timing cache cannot be written.
    """
    log = _make_log(library)
    builder = library.Builder(log)
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        said = "; ".join(f"node {each.node_name()} ({each.node_operator()}): {each.desc()}" for each in errors)
        raise EngineError(f"{_name(library)} cannot parse {graph}: {said or log.said()}")
    config = builder.create_builder_config()
    config.progress_monitor = monitor = _make_monitor(library, progress)
    if any(isinstance(size, str) for spec in tensors.inputs for size in spec.shape):
        config.add_optimization_profile(_profile(builder, tensors))
    if compute_capability is not None:
        _aim(library, config, compute_capability)
    if timing_cache is not None:
        _load_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    # The parser holds the weights until here, and must not outlive the network.
    del parser
    if monitor.raised is not None:
        raise monitor.raised
    if plan is None:
        raise EngineError(f"{_name(library)} cannot build {graph}: {log.said()}")
    if timing_cache is not None:
        try:
            timing_cache.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(timing_cache, bytes(config.get_timing_cache().serialize()))
        except OSError as error:
            msg = f"{timing_cache} could not be written: {error}; free some disk, or set XDG_CACHE_HOME elsewhere"
            raise StorageError(msg) from error
    return memoryview(plan)


def _profile(builder: Any, tensors: GraphTensors) -> Any:
    profile, sizes = builder.create_optimization_profile(), tensors.sizes
    for spec in tensors.inputs:
        if any(isinstance(size, str) for size in spec.shape):
            three = (
                tuple(getattr(sizes[size], which) if isinstance(size, str) else size for size in spec.shape)
                for which in SizeRange.__struct_fields__
            )
            profile.set_shape(spec.name, *three)
    return profile


def _aim(library: Any, config: Any, compute_capability: str) -> None:
    known = getattr(library, "ComputeCapability", None)
    target = getattr(known, compute_capability, None)
    if target is None:
        others = sorted(name for name in dir(known) if name.startswith("SM")) if known else []
        msg = (
            f"{_name(library)} cannot build for {compute_capability}; it can for {', '.join(others) or 'no other GPU'}"
        )
        raise EngineError(msg)
    config.num_compute_capabilities = 1
    config.set_compute_capability(target, 0)


def _load_timing_cache(config: Any, path: Path) -> None:
    """Give the builder what was measured before; what it cannot use, it ignores."""
    data = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        # Another version's or another GPU's.
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _name(library: Any) -> str:
    return f"{library.__name__} {library.__version__}"


def _make_log(library: Any) -> Any:
    """Return a log that keeps errors for our own messages and prints nothing."""

    class Log(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in {library.ILogger.ERROR, library.ILogger.INTERNAL_ERROR}:
                self.errors.append(message)

        def said(self) -> str:
            return "; ".join(self.errors) or "it did not say why"

    return Log()


def _make_monitor(library: Any, progress: Progress) -> Any:
    """Return a monitor that passes on what the builder is doing.

    What `progress` raises, such as an interruption from the keyboard, may not pass through the compiler: it is kept in
    `raised`, and the build is ended at its next step.
    """

    class Monitor(library.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            library.IProgressMonitor.__init__(self)
            self.raised: BaseException | None = None
            self._totals: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del parent_phase
            self._totals[phase_name] = num_steps
            self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            return self.raised is None

        def phase_finish(self, phase_name: str) -> None:
            self._tell(phase_name, self._totals.get(phase_name, 0))
            self._totals.pop(phase_name, None)

        def _tell(self, phase: str, done: int) -> None:
            if self.raised is None:
                try:
                    progress(phase, done, self._totals.get(phase, done))
                except BaseException as error:
                    self.raised = error

    return Monitor()
