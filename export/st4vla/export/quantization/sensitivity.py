"""Find precisions that keep the actions: measure each block alone, begin with the smallest numbers, raise the worst."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from st4vla.contracts.manifests import GRAPH_NAMES
from st4vla.export.quantization.blocks import block_names, find_products, table_names
from st4vla.export.quantization.cpu_form import quantize_dynamically
from st4vla.export.quantization.deviation import ActionJudge, Deviation
from st4vla.export.quantization.editing import numbers
from st4vla.export.quantization.lowering import lower_graph
from st4vla.export.quantization.observing import Observations
from st4vla.export.quantization.overflow import Overflow, find_overflows
from st4vla.export.quantization.recipe import PINNED, Form, GraphRecipe
from st4vla.export.quantization.scaling import Scaling, choose_scaling
from st4vla.export.quantization.weights import QuantizedWeight, fits_int4

#: Frames that a block alone is judged by.
RANKING_FRAMES = 4
#: What a raise aims at, of what the gate allows: predictions err.
_AIM = 0.7

Rungs = dict[str, dict[str, str]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sensitivity:
    """What one block does to the actions when all others are float32."""

    graph: str
    block: str
    rung: str
    deviation: Deviation


@dataclass(frozen=True)
class Bounds:
    """How far actions may be from those of float32.

    Attributes:
        min_cosine: Of a chunk, at the worst frame.
        max_joint_error_rad: Of the joint that differs most, at the worst frame.
    """

    min_cosine: float = 0.999
    max_joint_error_rad: float = 0.02

    def hold(self, deviation: Deviation) -> bool:
        """Say whether actions are near enough; actions that are not numbers are not."""
        return deviation.cosine >= self.min_cosine and deviation.joint_error_rad <= self.max_joint_error_rad

    def share_allowed(self, deviation: Deviation) -> float:
        """Return the share of the distance that may stay."""
        if not deviation.joint_error_rad < float("inf"):
            return 0.0
        angle = (1 - self.min_cosine) / max(deviation.distance, 1e-12)
        # Distances are squares of errors.
        return float(min(angle, (self.max_joint_error_rad / max(deviation.joint_error_rad, 1e-12)) ** 2))


class GraphLowerer:
    """Writes emulated graphs for given rungs.

    Args:
        paths: The float32 graphs.
        form: What is run.
        observations: What was seen in each graph.
        work: Folder for the graphs, each of which replaces the one before.
    """

    def __init__(
        self, paths: Mapping[str, Path], form: Form, observations: Mapping[str, Observations], work: Path
    ) -> None:
        self._paths, self._form, self._work = paths, form, work
        self._without: dict[str, dict[str, set[str]]] = {}
        self.scalings: dict[str, dict[str, Scaling]] = {}
        self.overflows: dict[str, list[Overflow]] = {}
        for name in GRAPH_NAMES:
            graph = ir.load(paths[name]).graph
            self._without[name] = _impossible(graph)
            self.overflows[name] = find_overflows(paths[name], observations[name].largest) if not form.dynamic else []
            self.scalings[name] = _scalings(graph, observations[name]) if "int8" in form.ladder else {}

    def take_int4(self, graph: str, weights: Mapping[str, QuantizedWeight]) -> None:
        """Use weights of a graph's products, by module, wherever their blocks are int4."""
        for module, weight in weights.items():
            self.scalings[graph][module] = replace(self.scalings[graph][module], int4=weight)

    def rungs(self, graph: str, start: str) -> dict[str, tuple[str, ...]]:
        """Return what each block of a graph may be, from `start` on."""
        return {block: self._form.rungs(start, without) for block, without in self._without[graph].items()}

    def recipe(self, graph: str, rungs: Mapping[str, str]) -> GraphRecipe:
        """Return the recipe of a graph's rungs."""
        return self._form.recipe(rungs, [each.block for each in self.overflows[graph]])

    def emulate(self, graph: str, rungs: Mapping[str, str]) -> Path:
        """Write a graph that rounds as its rungs do, and return its path."""
        target = self._work / f"{graph}.onnx"
        lower_graph(self._paths[graph], target, self.recipe(graph, rungs), self.scalings[graph], emulate=True)
        return target

    def write(self, graph: str, rungs: Mapping[str, str], folder: Path) -> Path:
        """Write a graph as an engine takes it, and return its path."""
        target, recipe = folder / f"{graph}.onnx", self.recipe(graph, rungs)
        if self._form.dynamic:
            quantize_dynamically(self._paths[graph], target, recipe)
        else:
            lower_graph(self._paths[graph], target, recipe, self.scalings[graph])
        return target


def measure_alone(
    judge: ActionJudge, lowerer: GraphLowerer, rungs: Mapping[str, Mapping[str, tuple[str, ...]]], progress: Progress
) -> list[Sensitivity]:
    """Return what each block does to the actions at each of its rungs but float32.

    Args:
        judge: Of the actions.
        lowerer: Of the graphs.
        rungs: Graph, then block, to what it may be.
        progress: Called with a block, how many are measured, and of how many.
    """
    wanted = [
        (graph, block, rung)
        for graph, blocks in rungs.items()
        for block, each in blocks.items()
        for rung in each
        if rung != "float32"
    ]
    found = []
    for done, (graph, block, rung) in enumerate(wanted):
        progress(f"{graph} {block} {rung}", done, len(wanted))
        path = lowerer.emulate(graph, {block: rung})
        found.append(Sensitivity(graph, block, rung, judge.deviation({graph: path}, RANKING_FRAMES)))
    return found


class Raiser:
    """Raises the worst blocks.

    Args:
        rungs: Graph, then block, to what it may be, from the smallest numbers on.
        alone: What `measure_alone` returned.
    """

    def __init__(self, rungs: Mapping[str, Mapping[str, tuple[str, ...]]], alone: list[Sensitivity]) -> None:
        self._rungs = rungs
        self._alone = {(each.graph, each.block, each.rung): each.deviation.distance for each in alone}
        self.chosen: Rungs = {
            graph: {block: each[0] for block, each in blocks.items()} for graph, blocks in rungs.items()
        }

    def distance(self, graph: str, block: str, rung: str) -> float:
        """Return what a block alone does to the cosine."""
        return self._alone.get((graph, block, rung), 0.0)

    def raise_worst(self, share: float, graphs: tuple[str, ...] = GRAPH_NAMES) -> bool:
        """Raise those blocks by a rung from which most is gained, until the distances' sum is a share of what it was.

        Returns:
            Whether anything was raised: one block at least, unless all are float32 already.
        """
        total = self._total(graphs)
        raised = False
        while not raised or self._total(graphs) > share * total:
            candidates = [
                (graph, block, self._next(graph, block))
                for graph in graphs
                for block, rung in self.chosen[graph].items()
                if rung != "float32"
            ]
            if not candidates:
                break
            graph, block, rung = max(candidates, key=lambda each: self._gain(*each))
            self.chosen[graph][block] = rung
            raised = True
        return raised

    def _next(self, graph: str, block: str) -> str:
        rungs = self._rungs[graph][block]
        return rungs[rungs.index(self.chosen[graph][block]) + 1]

    def _gain(self, graph: str, block: str, rung: str) -> float:
        return self.distance(graph, block, self.chosen[graph][block]) - self.distance(graph, block, rung)

    def _total(self, graphs: tuple[str, ...]) -> float:
        return sum(self.distance(graph, block, rung) for graph in graphs for block, rung in self.chosen[graph].items())


def raise_until_it_holds(
    judge: ActionJudge,
    lowerer: GraphLowerer,
    raiser: Raiser,
    bounds: Bounds,
    *,
    written_in: Path | None = None,
    fixed: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Deviation:
    """Raise blocks until the actions of all together are near enough, and return how far they are.

    Args:
        judge: Of the actions, by all of its frames.
        lowerer: Of the graphs.
        raiser: Holds the choice.
        bounds: What is near enough.
        written_in: Judge what this processor makes of the graphs that are written into this folder, and not of emulated
            ones: products of whole numbers may saturate where exact ones do not.
        fixed: Raise nothing.
        report: Called with one line for each try.
    """
    while True:
        if written_in is None:
            changed = {graph: lowerer.emulate(graph, rungs) for graph, rungs in raiser.chosen.items()}
        else:
            changed = {graph: lowerer.write(graph, rungs, written_in) for graph, rungs in raiser.chosen.items()}
        deviation = judge.deviation(changed, exactly=written_in is None)
        counts = _counted(raiser.chosen)
        report(f"{counts}: cosine {deviation.cosine:.6f}, joints {deviation.joint_error_rad * 1e3:.2f} mrad")
        if bounds.hold(deviation) or fixed or not raiser.raise_worst(_AIM * bounds.share_allowed(deviation)):
            return deviation


def _impossible(graph: ir.Graph) -> dict[str, set[str]]:
    """Return each block that may have a precision of its own, and what would do nothing for it."""
    products = find_products(graph)
    fitting = {product.block for product in products if fits_int4(product.rows)}
    # Tables are read from, not multiplied with.
    whole, tables = {"int4", "int8", "int8_dynamic"}, table_names(graph)
    return {
        block: whole if block in tables else {"int4"} if block not in fitting else set()
        for block in block_names(graph)
        if block not in PINNED
    }


def _scalings(graph: ir.Graph, observations: Observations) -> dict[str, Scaling]:
    """Return the scaling of each product; those that read the same activations share one."""
    by_activation: dict[ir.Value, list[tuple[str, ir.Value]]] = {}
    for product in find_products(graph):
        by_activation.setdefault(product.activation, []).append((product.module, product.weight))
    scalings: dict[str, Scaling] = {}
    for products in by_activation.values():
        observed = observations.activations[products[0][0]]
        scaling = choose_scaling(observed, [numbers(weight) for _, weight in products])
        scalings |= {module: scaling for module, _ in products}
    return scalings


def _counted(chosen: Rungs) -> str:
    rungs = [rung for blocks in chosen.values() for rung in blocks.values()]
    return ", ".join(f"{rungs.count(rung)} {rung}" for rung in dict.fromkeys(sorted(rungs)))
