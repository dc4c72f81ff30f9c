"""TensorRT, of JetPack or of the package registry, and TensorRT-RTX."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from st4vla.contracts.errors import BackendUnavailableError, EngineError
from st4vla.contracts.manifests import CpuSettings
from st4vla.contracts.tensor_spec import GraphTensors
from st4vla.runtime.engines.backend import Availability, Progress, no_progress
from st4vla.runtime.engines.cuda import Cuda, first_gpu
from st4vla.runtime.engines.tensorrt_build import build_engine
from st4vla.runtime.engines.tensorrt_engine import TensorRtEngine

#: What importing the library may raise, its shared libraries included.
_IMPORT_FAILURES = (ImportError, OSError, RuntimeError)


class TensorRtBackend:
    """Compile and run on an NVIDIA GPU.

    Args:
        name: The library's module, and the back end's name.
        remedy: How to get the library.
    """

    on_cpu = False

    def __init__(self, name: str, remedy: str) -> None:
        self.name, self._remedy = name, remedy

    def availability(self) -> Availability:
        """Say whether the library imports, and whether there is a GPU to run on."""
        try:
            library = importlib.import_module(self.name)
        except _IMPORT_FAILURES as error:
            return Availability(usable=False, reason=f"cannot be imported: {error}", remedy=self._remedy)
        version = str(library.__version__)
        try:
            major, minor = first_gpu().compute_capability()
        except BackendUnavailableError as error:
            return Availability(usable=False, reason=str(error), version=version)
        return Availability(usable=True, reason=f"runs on the GPU (SM{major}{minor})", version=version)

    def library(self) -> Any:
        """Return the library's module.

        Raises:
            BackendUnavailableError: It is not installed, or its shared libraries are missing.
        """
        try:
            return importlib.import_module(self.name)
        except _IMPORT_FAILURES as error:
            msg = f"{self.name} cannot be imported ({error}); to install it: {self._remedy}"
            raise BackendUnavailableError(msg) from error

    def compile(
        self, graph: Path, target: Path, tensors: GraphTensors, *, cache: Path, progress: Progress = no_progress
    ) -> None:
        """Compile for this machine's GPU.

        Raises:
            EngineError: The library refused the graph.
        """
        timing_cache = cache / f"{self.name}.timing"
        plan = build_engine(self.library(), graph, tensors, timing_cache=timing_cache, progress=progress)
        target.write_bytes(plan)

    def load(
        self, path: Path, tensors: GraphTensors, *, cpu: CpuSettings | None = None, urgent: bool = False
    ) -> TensorRtEngine:
        """Load an engine onto the GPU, which a CPU's settings say nothing about.

        Raises:
            EngineError: It cannot be loaded.
        """
        del cpu
        return load_engine(self.library(), first_gpu(), path, tensors, urgent=urgent)


def load_engine(library: Any, cuda: Cuda, path: Path, tensors: GraphTensors, *, urgent: bool) -> TensorRtEngine:
    """Return an engine that runs on `cuda`; see `TensorRtBackend.load`."""
    cuda.use()
    runtime = library.Runtime(library.Logger(library.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        msg = f"{library.__name__} {library.__version__} cannot load {path}; compile the bundle again on this device"
        raise EngineError(msg)
    return TensorRtEngine(tensors, engine, cuda, urgent=urgent)
