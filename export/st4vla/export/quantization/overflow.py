"""Find blocks whose numbers float16 cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from st4vla.export.quantization.blocks import block_names
from st4vla.export.quantization.editing import numbers
from st4vla.export.quantization.floats import narrowed_tensors

#: Largest finite number of float16.
LARGEST = 65_504.0
#: How much larger numbers may get than they were seen.
HEADROOM = 4.0


@dataclass(frozen=True)
class Overflow:
    """A tensor that float16 cannot hold.

    Attributes:
        block: Its block.
        tensor: Its name.
        largest: Its largest absolute value, as seen.
    """

    block: str
    tensor: str
    largest: float

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.block}: {self.tensor} reaches {self.largest:.3g}; float16 ends at {LARGEST:.0f}"


def find_overflows(source: Path, largest: Mapping[str, float]) -> list[Overflow]:
    """Return what float16 cannot hold of a graph: activations with `HEADROOM`, and weights as they are.

    Args:
        source: The float32 graph.
        largest: Name of a tensor to its largest absolute value; see `Observations`.
    """
    graph = ir.load(source).graph
    constants = dict(graph.initializers)
    found = []
    for block, name in sorted(narrowed_tensors(graph, block_names(graph))):
        if name in constants:
            reached, headroom = float(np.abs(numbers(constants[name])).max()), 1.0
        else:
            reached, headroom = largest.get(name, 0.0), HEADROOM
        if not reached * headroom <= LARGEST:
            found.append(Overflow(block, name, reached))
    return found
