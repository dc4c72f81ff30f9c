"""Check a bundle for a device that is not there: what its compiler, its hardware and its memory would say."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import onnx

from st4vla.contracts.errors import EngineError, MissingExtraError
from st4vla.contracts.manifests import GRAPH_NAMES, Bundle
from st4vla.export.graph_memory import GraphMemory, graph_memory
from st4vla.export.lint import lint
from st4vla.export.memory_plan import MemoryPlan
from st4vla.export.targets import Target
from st4vla.runtime.engines.tensorrt_build import build_engine

COMPILER = "tensorrt_rtx"


@dataclass
class Verdict:
    """What came out.

    Attributes:
        plan: The memory that is needed.
        problems: What would not work; empty for a bundle that may go to the device.
        built: Graph to the seconds that the nearest compiler took and the bytes that it made.
    """

    plan: MemoryPlan
    problems: list[str] = field(default_factory=list)
    built: dict[str, tuple[float, int]] = field(default_factory=dict)


def check_bundle(
    bundle: Bundle, target: Target, *, build: bool = True, report: Callable[[str], None] = lambda _: None
) -> Verdict:
    """Lint all graphs, plan their memory, and compile them for the target's nearest relative.

    Nothing is compiled when the lint or the plan has found something.

    Args:
        bundle: A verified bundle.
        target: The device.
        build: Whether to compile.
        report: Called with one line for each graph that was compiled.

    Raises:
        ManifestError: A graph does not say the shapes of its tensors.
        MissingExtraError: The compiler is not installed.
    """
    sizes, graphs, problems = bundle.manifest.sizes, [], []
    for name in GRAPH_NAMES:
        model = onnx.load(str(bundle.path(bundle.manifest.graphs[name].file)), load_external_data=False)
        problems += [f"{name}: {finding}" for finding in lint(model, target)]
        graphs.append(graph_memory(name, model, sizes))
    verdict = Verdict(MemoryPlan(target, tuple(graphs)), problems)
    if verdict.plan.left < 0:
        problems.append(_too_large(verdict.plan))
    if problems or not build:
        return verdict
    library = _compiler()
    for name in GRAPH_NAMES:
        began = time.perf_counter()
        graph = bundle.path(bundle.manifest.graphs[name].file)
        try:
            engine = build_engine(library, graph, bundle.tensors(name), compute_capability=target.nearest)
        except EngineError as error:
            problems.append(f"{name}: {error}")
            continue
        seconds, size = verdict.built[name] = time.perf_counter() - began, engine.nbytes
        report(f"{name}: compiled for {target.nearest} in {seconds:.1f} s, {size / 2**20:.1f} MiB")
    return verdict


def preset_memory(name: str, report: Callable[[str], None] = lambda _: None) -> tuple[GraphMemory, ...]:
    """Return what the graphs of a preset need, exported without weights.

    Args:
        name: Of the preset.
        report: Called with one line for each graph that was counted.

    Raises:
        UsageError: An unknown preset.
    """
    # Here, since a bundle can be checked without torch.
    from st4vla.export.weightless import prompt_sizes, weightless_graphs  # noqa: PLC0415
    from st4vla.training.presets import get_preset  # noqa: PLC0415

    preset = get_preset(name)
    sizes, graphs = prompt_sizes(preset), []
    for graph, model in weightless_graphs(preset):
        graphs.append(graph_memory(graph, model, sizes))
        report(f"{graph}: {graphs[-1].weights / 2**20:.1f} MiB of weights")
    return tuple(graphs)


def _too_large(plan: MemoryPlan) -> str:
    missing = f"{-plan.left / 2**20:.0f} MiB are missing on {plan.target.title}"
    change = plan.smallest_change()
    if change is None:
        return f"{missing}; no precision makes it fit: use fewer views, shorter prompts or a larger device"
    words, smaller = change
    return f"{missing}; the smallest change that fits: {words} ({smaller.left / 2**20:.0f} MiB left)"


def _compiler() -> Any:
    try:
        return importlib.import_module(COMPILER)
    except ImportError as error:
        msg = f"compiling for a device that is not there needs {COMPILER}; install it with: pip install 'st4vla[rtx]'"
        raise MissingExtraError(msg) from error
