"""The sampler as a step graph that is run once a step, against one unrolled graph of all steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import torch

from st4vla.benchmarks.sampler_engines import drawing, measure_memory
from st4vla.benchmarks.turns import Cost, in_turns
from st4vla.benchmarks.unrolled_sampler import UnrolledSampler
from st4vla.contracts.manifests import CpuSettings
from st4vla.contracts.tensor_spec import GraphTensors
from st4vla.export.bundle import golden_numbers, graph_spec, head_ids_of, open_checkpoint, squares
from st4vla.export.onnx_export import WEIGHTS_SUFFIX, save_graph, to_onnx
from st4vla.export.sampler_graph import SamplerGraph
from st4vla.runtime.engines.engine import Array, Engine
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.engines.tensorrt_build import build_engine

STEP, UNROLLED = SIDES = ("step", "unrolled")
#: TensorRT-RTX builds for it without a GPU; it is the nearest to Orin's own (SM87).
COMPUTE_CAPABILITY = "SM86"


class GraphCosts(msgspec.Struct, frozen=True):
    """What one kind of graph costs; times are one a turn.

    Attributes:
        export: From the policy to the ONNX file.
        nodes: Of that graph.
        onnx_bytes: Of the file, and of its weights beside it.
        optimise: From there to what ONNX Runtime makes of it for this processor.
        optimised_nodes: Of that graph.
        optimised_bytes: Of the file, and of its weights beside it.
        load: From there to a session.
        resident_bytes: By which a process grows with a session that has drawn chunks.
        peak_bytes: By which it grows at most until then.
        chunk: To draw one.
        tensorrt_build: From the ONNX file to an engine of TensorRT-RTX; empty where that was left out.
        tensorrt_bytes: Of that engine; None where it was left out.
        difference: Largest from the actions of the policy in PyTorch; actions lie in [-1, 1].
    """

    export: tuple[Cost, ...]
    nodes: int
    onnx_bytes: tuple[int, int]
    optimise: tuple[Cost, ...]
    optimised_nodes: int
    optimised_bytes: tuple[int, int]
    load: tuple[Cost, ...]
    resident_bytes: int
    peak_bytes: int
    chunk: tuple[Cost, ...]
    tensorrt_build: tuple[Cost, ...]
    tensorrt_bytes: int | None
    difference: float


class Comparison(msgspec.Struct, frozen=True):
    """Both kinds of graph.

    Attributes:
        preset: Of the checkpoint.
        num_steps: That a chunk takes.
        guidance_scale: With which it is drawn.
        costs: By the name of the side, `STEP` or `UNROLLED`.
        difference: Largest between the actions of both.
    """

    preset: str
    num_steps: int
    guidance_scale: float
    costs: dict[str, GraphCosts]
    difference: float

    def ratios(self, what: str, clock: str = "seconds") -> list[float]:
        """Return for each turn how many times as long as the step graph the unrolled one took.

        Args:
            what: A field of `GraphCosts` that holds times.
            clock: A field of `Cost`.
        """
        turns = zip(getattr(self.costs[UNROLLED], what), getattr(self.costs[STEP], what), strict=True)
        return [getattr(theirs, clock) / getattr(ours, clock) for theirs, ours in turns]


@dataclass
class _Side:
    """One kind of graph, and where its files lie."""

    module: torch.nn.Module
    feeds: Mapping[str, Array]
    output: str
    path: Path
    tensorrt_bytes: int | None = None

    @property
    def engine(self) -> Path:
        return self.path.with_suffix(".engine")

    @property
    def tensors(self) -> GraphTensors:
        spec = graph_spec(self.path)
        return GraphTensors(f"{self.path.stem} sampler", spec.inputs, spec.outputs, {})

    def export(self) -> None:
        inputs = {name: torch.from_numpy(array) for name, array in self.feeds.items()}
        save_graph(to_onnx(self.module, inputs, [self.output]), self.path)

    def optimise(self, backend: OnnxRuntimeBackend) -> None:
        backend.compile(self.path, self.engine, self.tensors, cache=self.path.parent)

    def load(self, backend: OnnxRuntimeBackend, cpu: CpuSettings) -> Engine:
        return backend.load(self.engine, self.tensors, cpu=cpu)

    def build(self, compiler: Any) -> None:
        plan = build_engine(compiler, self.path, self.tensors, compute_capability=COMPUTE_CAPABILITY)
        self.tensorrt_bytes = plan.nbytes


def compare(
    folder: Path,
    work: Path,
    *,
    num_steps: int | None = None,
    repeats: int,
    chunks: int,
    cpu: CpuSettings,
    compiler: Any | None,
    report: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Make both kinds of graph of a checkpoint's sampler, and measure them.

    Args:
        folder: The checkpoint.
        work: Where files may be left.
        num_steps: How many steps; None for the checkpoint's own number.
        repeats: How often each side exports, optimises, loads and builds.
        chunks: How many each side draws.
        cpu: How both use the CPU.
        compiler: `tensorrt_rtx`; None leaves it out.
        report: Called with what is done next.

    Raises:
        ManifestError, FileMissingError, FileAlteredError: The checkpoint is not whole.
        ValueError: There is no such number of steps.
        EngineError: An engine library refuses a graph.
    """
    checkpoint = open_checkpoint(folder)
    sampler = checkpoint.policy.sampler
    if num_steps is not None:
        sampler = checkpoint.policy.sampler = msgspec.structs.replace(sampler, num_steps=num_steps)
    golden = golden_numbers(checkpoint, head_ids_of(checkpoint), squares(checkpoint))
    graph = SamplerGraph(checkpoint.policy)
    feeds = _feeds(golden, "condition", "noise", "prefix", "prefix_weights")
    step_feeds = _feeds(golden, "condition", "chunk", "timestep", "coefficients", "prefix", "prefix_weights")
    sides = {
        STEP: _Side(graph, step_feeds, "next_chunk", work / "step.onnx"),
        UNROLLED: _Side(UnrolledSampler(graph, sampler.num_steps), feeds, "actions", work / "unrolled.onnx"),
    }
    report(f"exporting, {repeats} times each")
    # What the exporter imports and makes ready at its first use belongs to neither.
    sides[STEP].export()
    export = in_turns({name: side.export for name, side in sides.items()}, repeats)

    report("optimising and loading with ONNX Runtime")
    backend = OnnxRuntimeBackend()
    optimise = in_turns({name: partial(side.optimise, backend) for name, side in sides.items()}, repeats)
    load = in_turns({name: partial(side.load, backend, cpu) for name, side in sides.items()}, repeats)
    memory = {
        name: measure_memory(side.engine, side.tensors, cpu, feeds, sampler.num_steps) for name, side in sides.items()
    }

    report(f"drawing {chunks} chunks of {sampler.num_steps} steps each")
    with ExitStack() as stack:
        draws = {
            name: drawing(stack.enter_context(side.load(backend, cpu)), feeds, sampler.num_steps)
            for name, side in sides.items()
        }
        actions = {name: draw() for name, draw in draws.items()}
        drawn = in_turns(draws, chunks)

    built: dict[str, tuple[Cost, ...]] = dict.fromkeys(sides, ())
    if compiler is not None:
        report(f"building with {compiler.__name__} for {COMPUTE_CAPABILITY}, {repeats} times each")
        built = in_turns({name: partial(side.build, compiler) for name, side in sides.items()}, repeats)
    costs = {
        name: GraphCosts(
            export=export[name],
            nodes=_count_nodes(side.path),
            onnx_bytes=_sizes(side.path),
            optimise=optimise[name],
            optimised_nodes=_count_nodes(side.engine),
            optimised_bytes=_sizes(side.engine),
            load=load[name],
            resident_bytes=memory[name][0],
            peak_bytes=memory[name][1],
            chunk=drawn[name],
            tensorrt_build=built[name],
            tensorrt_bytes=side.tensorrt_bytes,
            difference=_difference(actions[name], golden["policy/output/actions"]),
        )
        for name, side in sides.items()
    }
    apart = _difference(actions[UNROLLED], actions[STEP])
    return Comparison(checkpoint.manifest.preset, sampler.num_steps, sampler.guidance_scale, costs, apart)


def _feeds(golden: Mapping[str, Array], *names: str) -> dict[str, Array]:
    """Return golden inputs by name, of a step or of a whole chunk."""
    both = (f"{graph}/input/{name}" for name in names for graph in ("sampler", "policy"))
    return {key.rpartition("/")[2]: golden[key] for key in both if key in golden}


def _count_nodes(path: Path) -> int:
    return len(onnx.load(path, load_external_data=False).graph.node)


def _sizes(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.with_name(path.name + WEIGHTS_SUFFIX).stat().st_size


def _difference(actual: Array, expected: Array) -> float:
    return float(np.abs(actual - expected).max())
