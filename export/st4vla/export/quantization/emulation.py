"""Run a graph on this machine as nearly as it can as written: no two roundings made one, no sums in another order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import onnxruntime
from typing_extensions import Self

from st4vla.runtime.engines.engine import Array


class GraphSession:
    """A graph in ONNX Runtime, used as a context manager.

    Args:
        path: The graph.
        exactly: Carry out rounding to whole numbers as it is written, instead of multiplying whole numbers, which on
            some processors saturates.
    """

    def __init__(self, path: Path, *, exactly: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.disable_quant_qdq", "1" if exactly else "0")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self._outputs = [entry.name for entry in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs by name; feeds that are no inputs of this graph are left alone."""
        values = self._session.run(self._outputs, {name: feeds[name] for name in self._inputs})
        return dict(zip(self._outputs, values, strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._session
