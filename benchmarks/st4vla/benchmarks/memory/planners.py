"""Export and compile planners of full width and a few layers, and say what each took.

Checkpoints hold random weights, and are written tensor by tensor; they and what is made of them are gone afterwards.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from st4vla.benchmarks.memory.child import Peak, watch, watch_command
from st4vla.export.onnx_export import WEIGHTS_SUFFIX
from st4vla.export.random_checkpoint import export_random_planner, write_random_checkpoint
from st4vla.export.weightless import shortened

#: What an export has imported before it reads its first weight.
_EXPORTER = "import onnxruntime, torch.onnx, onnxscript.optimizer, st4vla.export.bundle, st4vla.training.checkpoint"
_COMPILER = "import st4vla.benchmarks.memory.compiling as c; c.tensorrt_rtx.Builder(c.tensorrt_rtx.Logger())"


@dataclass(frozen=True)
class Depth:
    """How many layers a planner has."""

    language: int
    vision: int


@dataclass(frozen=True)
class Measured:
    """What one planner took, and the bytes of the exported weights."""

    depth: Depth
    weights: int
    peak: Peak


def exporting_nothing() -> Peak:
    """Return what a program takes that has loaded the exporter."""
    return watch(["-c", _EXPORTER])


def compiling_nothing() -> Peak:
    """Return what a program takes that has loaded the compiler."""
    return watch(["-c", _COMPILER])


def measure_export(preset: str, depth: Depth, dtype: str, work: Path) -> Measured:
    """Export a whole policy with `st4vla export`; its weights are those of all three graphs."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        checkpoint, bundle = Path(name) / "checkpoint", Path(name) / "bundle"
        write_random_checkpoint(checkpoint, preset, shortened(preset, depth.language, depth.vision), dtype)
        peak = watch_command(["export", str(checkpoint), "--out", str(bundle)])
        return Measured(depth, sum(path.stat().st_size for path in bundle.glob(f"*{WEIGHTS_SUFFIX}")), peak)


def measure_compile(preset: str, depth: Depth, dtype: str, capability: str, work: Path) -> Measured:
    """Compile the graph `planner` in a float type with TensorRT-RTX; its weights are those of that graph."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        shorter = shortened(preset, depth.language, depth.vision)
        graph, tensors = export_random_planner(Path(name), preset, shorter, dtype)
        described = msgspec.json.encode(tensors).decode()
        peak = watch(["-m", "st4vla.benchmarks.memory.compiling", str(graph), described, capability])
        return Measured(depth, graph.with_name(graph.name + WEIGHTS_SUFFIX).stat().st_size, peak)
