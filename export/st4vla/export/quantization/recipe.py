"""Which precision each block has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from st4vla.contracts.errors import UsageError

FLOATS = ("float32", "float16", "bfloat16")
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
        """Return the blocks of a precision, without those that are pinned."""
        return {block for block, each in self.precisions.items() if each == precision and block not in PINNED}

    def float_types(self) -> dict[str, str]:
        """Return the float type of each block that is not float32."""
        types = {
            block: precision if precision in FLOATS else self.surroundings.get(block, "float32")
            for block, precision in self.precisions.items()
        }
        return {block: name for block, name in types.items() if name != "float32" and block not in PINNED}


@dataclass(frozen=True)
class Form:
    """What a kind of engine runs.

    Attributes:
        name: On the command line.
        ladder: Rungs, from the smallest numbers to float32. ``half`` is float16, or bfloat16 where that overflows.
        start: Graph to the rung that it begins with.
        dynamic: Whether activations are measured and rounded in each run, and all else is float32. If not, what
            surrounds whole numbers is ``half``.
    """

    name: str
    ladder: tuple[str, ...]
    start: Mapping[str, str]
    dynamic: bool

    def rungs(self, start: str, without: Collection[str] = ()) -> tuple[str, ...]:
        """Return what a block may be, from `start` on.

        Args:
            start: The rung that it begins with.
            without: Rungs that would do nothing for it.

        Raises:
            UsageError: `start` is not on the ladder.
        """
        if start not in self.ladder:
            raise UsageError(f"{start!r} is not a precision of {self.name}; choose one of {', '.join(self.ladder)}")
        rungs = self.ladder[self.ladder.index(start) :]
        return tuple(rung for rung in rungs if rung not in without)

    def recipe(self, rungs: Mapping[str, str], overflowing: Sequence[str]) -> GraphRecipe:
        """Return the recipe of a graph from the rung of each block; some cannot be float16."""
        half = {block: "bfloat16" if block in overflowing else "float16" for block in rungs}
        precisions = {block: half[block] if rung == "half" else rung for block, rung in rungs.items()}
        return GraphRecipe(precisions, {} if self.dynamic else half)


FORMS = {
    form.name: form
    for form in (
        Form(
            "tensorrt",
            ("int4", "int8", "half", "float32"),
            {"planner": "int4", "bridge": "int8", "sampler": "int8"},
            dynamic=False,
        ),
        Form(
            "cpu",
            ("int8_dynamic", "float32"),
            {"planner": "int8_dynamic", "bridge": "int8_dynamic", "sampler": "int8_dynamic"},
            dynamic=True,
        ),
    )
}


def get_form(name: str) -> Form:
    """Return a form.

    Raises:
        UsageError: An unknown name; the message lists the known ones.
    """
    if name not in FORMS:
        raise UsageError(f"unknown kind of engine {name!r}; known are {', '.join(FORMS)}")
    return FORMS[name]
