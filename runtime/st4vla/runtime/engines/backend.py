"""What an engine library must offer to be one of ours. Adding one is one file, and a line in `catalogue`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from st4vla.contracts.tensor_spec import TensorSpec
from st4vla.runtime.engines.engine import Engine


@dataclass(frozen=True)
class Availability:
    """Whether a back end can be used on this machine.

    Attributes:
        usable: It can compile and run here.
        reason: Why, or why not: one sentence.
        remedy: The command that makes it usable; empty where none does.
        version: Version of its library; empty when absent.
    """

    usable: bool
    reason: str
    remedy: str = ""
    version: str = ""


class Backend(Protocol):
    """An engine library."""

    name: str

    def availability(self) -> Availability:
        """Say whether it can be used here, by trying, never by a compile-time list."""
        ...

    def compile(self, graph: Path, target: Path) -> None:
        """Compile an ONNX file for this device into `target`.

        Raises:
            EngineError: The library refused the graph.
        """
        ...

    def load(
        self, name: str, path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], threads: int
    ) -> Engine:
        """Load what `compile` made.

        Args:
            name: The graph's name.
            path: The compiled file.
            inputs: What the bundle says it takes.
            outputs: What the bundle says it returns.
            threads: CPU threads it may use; 0 for the library's choice.

        Raises:
            EngineError: The file cannot be loaded, or its tensors are not the bundle's.
        """
        ...
