"""What a policy needs of a device's memory, before anything is built: modelled, and always labelled so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from st4vla.export.graph_memory import EXPORTED, PRECISIONS, GraphMemory
from st4vla.export.targets import GIB, Target
from st4vla.runtime.flashing.preflight import BUILD_COPIES

#: The operating system without a desktop, and one CUDA context with the engine library: assumed.
SYSTEM_BYTES = 2 * GIB
_MIB = 2**20


@dataclass(frozen=True)
class MemoryPlan:
    """All graphs of a policy on one device.

    Attributes:
        target: The device.
        graphs: What each needs.
    """

    target: Target
    graphs: tuple[GraphMemory, ...]

    @property
    def running(self) -> int:
        """Bytes while it serves: both systems are resident."""
        return SYSTEM_BYTES + sum(graph.weights + graph.activations for graph in self.graphs)

    @property
    def building(self) -> int:
        """Bytes while the largest graph is compiled; one is compiled at a time."""
        return SYSTEM_BYTES + max(math.ceil(BUILD_COPIES * graph.weights) + graph.activations for graph in self.graphs)

    @property
    def left(self) -> int:
        """Bytes that are left at the worst moment; negative where it does not fit."""
        return self.target.memory_bytes - max(self.running, self.building)

    def in_precision(self, precision: str) -> MemoryPlan:
        """Return the plan with all graphs in another precision."""
        return replace(self, graphs=tuple(graph.in_precision(precision) for graph in self.graphs))

    def smallest_change(self) -> tuple[str, MemoryPlan] | None:
        """Return the mildest change that makes it fit, and the plan with it; None where none does.

        The planner first, which has the most weights by far, then all graphs.
        """
        for names in (("planner",), tuple(graph.name for graph in self.graphs)):
            for precision in PRECISIONS:
                graphs = (graph.in_precision(precision) if graph.name in names else graph for graph in self.graphs)
                plan = replace(self, graphs=tuple(graphs))
                if plan.left >= 0:
                    return f"{precision} in the {', '.join(names)}", plan
        return None


def plan_rows(plan: MemoryPlan) -> Sequence[Sequence[object]]:
    """Return what to show of one device, in MiB."""
    rows: list[tuple[str, float]] = []
    for graph in plan.graphs:
        rows += [
            (f"{graph.name}: weights", graph.weights / _MIB),
            (f"{graph.name}: activations", graph.activations / _MIB),
        ]
    rows += [
        ("system and CUDA (assumed)", SYSTEM_BYTES / _MIB),
        ("while it serves", plan.running / _MIB),
        (f"while it is compiled ({BUILD_COPIES} copies of weights)", plan.building / _MIB),
        (f"left of {plan.target.memory_bytes / _MIB:.0f}", plan.left / _MIB),
    ]
    return rows


def overview_rows(plans: Sequence[MemoryPlan]) -> Sequence[Sequence[object]]:
    """Return what to show of one policy on several devices: what is left in each precision, in whole MiB.

    Two rows each: while it serves, and while it is compiled. Negative is what is missing.
    """
    rows: list[tuple[object, ...]] = []
    for plan in plans:
        each = [plan.in_precision(precision) for precision in (EXPORTED, *PRECISIONS)]
        memory = plan.target.memory_bytes
        rows += [
            (plan.target.title, "serving", *((memory - one.running) // _MIB for one in each)),
            ("", "compiling", *((memory - one.building) // _MIB for one in each)),
        ]
    return rows
