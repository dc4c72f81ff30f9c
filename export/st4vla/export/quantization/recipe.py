"""Which precision each block has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: From the smallest weights to the exact policy. `float16` and `bfloat16` are one rung: which of them a block can have
#: is a matter of its range.
LADDER = ("int4", "int8", "half", "float32")
HALVES = ("float16", "bfloat16")
#: Blocks that stay float32 whatever is asked for: what they make is what the denoising adds up.
PINNED = ("transformer.final_layer",)


@dataclass(frozen=True)
class GraphRecipe:
    """Precisions of one graph.

    Attributes:
        precisions: Block to ``int4``, ``int8``, ``int8_dynamic``, ``float16``, ``bfloat16`` or ``float32``; blocks that
            are not named are float32. Whole numbers are those of products.
        surroundings: Float type of what is not a product in blocks of whole numbers: block to float type; float32 where
            it is not named.
    """

    precisions: Mapping[str, str] = field(default_factory=dict)
    surroundings: Mapping[str, str] = field(default_factory=dict)

    def blocks_of(self, precision: str) -> set[str]:
        """Return the blocks of a precision."""
        return {block for block, each in self.precisions.items() if each == precision}

    def float_types(self) -> dict[str, str]:
        """Return the float type of each block that is not float32."""
        types = {
            block: precision if precision in HALVES else self.surroundings.get(block, "float32")
            for block, precision in self.precisions.items()
        }
        return {block: name for block, name in types.items() if name != "float32"}
