"""What an engine library must offer to be one of ours. Adding one is one file, and a line in `catalogue`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from st4vla.contracts.manifests import CpuSettings
from st4vla.contracts.tensor_spec import GraphTensors
from st4vla.runtime.engines.engine import Engine

#: Called with a phase of a build, how many of its steps are done, and of how many.
Progress = Callable[[str, int, int], None]


def no_progress(phase: str, done: int, total: int) -> None:
    """Say nothing of a build."""
    del phase, done, total


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
    """An engine library.

    Attributes:
        name: What it is called.
        on_cpu: Its engines run on the CPU, so that they share its cores with each other.
    """

    name: str
    on_cpu: bool

    def availability(self) -> Availability:
        """Say whether it can be used here, by trying, never by a compile-time list."""
        ...

    def compile(
        self, graph: Path, target: Path, tensors: GraphTensors, *, cache: Path, progress: Progress = no_progress
    ) -> None:
        """Compile an ONNX file for this device into `target`.

        Args:
            graph: The ONNX file; weights beside it are found.
            target: Where to; further files may be written beside it, under names that begin with its own.
            tensors: What goes in and comes out.
            cache: Folder of this device, in which the library may keep what it measured from one build to the next.
            progress: Called while it compiles.

        Raises:
            EngineError: The library refused the graph.
        """
        ...

    def load(
        self, path: Path, tensors: GraphTensors, *, cpu: CpuSettings | None = None, urgent: bool = False
    ) -> Engine:
        """Load what `compile` made.

        Args:
            path: The compiled file.
            tensors: What the bundle says goes in and comes out.
            cpu: How it uses the CPU's cores, if it runs on them; None for one thread.
            urgent: Whether its work on a GPU goes before that of other engines.

        Raises:
            EngineError: The file cannot be loaded, or its tensors are not the bundle's.
        """
        ...
