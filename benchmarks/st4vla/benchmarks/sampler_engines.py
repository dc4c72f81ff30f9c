"""The sampler's engine of either kind, a step or all of them, on the CPU: drawing a chunk, and the memory it takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from st4vla.contracts.manifests import CpuSettings
from st4vla.contracts.tensor_spec import GraphTensors
from st4vla.runtime.engines.engine import Array, Engine
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.sampler import Sampler

_STATUS = Path("/proc/self/status")


def drawing(engine: Engine, feeds: Mapping[str, Array], num_steps: int) -> Callable[[], Array]:
    """Return what draws a chunk [1, T, A], as the runtime would.

    Args:
        engine: The step graph, which is run once a step, or the unrolled one, which is run once.
        feeds: As `Sampler.sample` takes them.
        num_steps: How many steps; the unrolled graph's own.
    """
    if any(spec.name == "timestep" for spec in engine.inputs):
        return partial(Sampler(engine, num_steps).sample, feeds)
    return lambda: engine.run(feeds)["actions"]


def measure_memory(
    path: Path, tensors: GraphTensors, cpu: CpuSettings, feeds: Mapping[str, Array], num_steps: int
) -> tuple[int, int]:
    """Return by how many bytes a process grows with an engine that has drawn chunks, and by how many at most meanwhile.

    Measured in a process of its own, which held nothing but the library before. Linux only.

    Args:
        path: What ONNX Runtime's back end compiled.
        tensors: What goes in and comes out.
        cpu: Its settings.
        feeds: As `drawing` takes them.
        num_steps: As `drawing` takes it.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_grow, path, tensors, cpu, feeds, num_steps).result()


def _grow(
    path: Path, tensors: GraphTensors, cpu: CpuSettings, feeds: Mapping[str, Array], num_steps: int
) -> tuple[int, int]:
    backend = OnnxRuntimeBackend()
    # Loads the library.
    backend.availability()
    before = _status_bytes("VmRSS")
    with backend.load(path, tensors, cpu=cpu) as engine:
        draw = drawing(engine, feeds, num_steps)
        for _ in range(2):
            draw()
        return _status_bytes("VmRSS") - before, _status_bytes("VmHWM") - before


def _status_bytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
