"""The bundle's golden inputs and outputs, and how close an engine comes to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import ManifestError
from st4vla.contracts.manifests import Bundle, GraphSpec, Parity
from st4vla.runtime.engines.engine import Array


def load_golden(bundle: Bundle, graph: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return a graph's golden inputs and outputs by name.

    They lie in one `.npz` under ``GRAPH/input/NAME`` and ``GRAPH/output/NAME``.

    Raises:
        ManifestError: One of them is missing.
    """
    path: Path = bundle.path(bundle.manifest.golden)
    spec: GraphSpec = bundle.manifest.graphs[graph]
    with np.load(path, allow_pickle=False) as archive:
        wanted = {
            "input": [tensor.name for tensor in spec.inputs],
            "output": [tensor.name for tensor in spec.outputs],
        }
        keys = [f"{graph}/{side}/{name}" for side, names in wanted.items() for name in names]
        missing = [key for key in keys if key not in archive]
        if missing:
            msg = f"{path} lacks {', '.join(missing)}; export the bundle again"
            raise ManifestError(msg)
        inputs = {name: archive[f"{graph}/input/{name}"] for name in wanted["input"]}
        outputs = {name: archive[f"{graph}/output/{name}"] for name in wanted["output"]}
    return inputs, outputs


def measure_parity(golden: Mapping[str, Array], actual: Mapping[str, Array]) -> Parity:
    """Compare outputs by name; the worst of them counts.

    An output that holds NaN, or has another shape, is infinitely far away.
    """
    parities = [_parity(np.asarray(golden[name]), np.asarray(actual[name])) for name in golden]
    return Parity(
        max_absolute=max(parity.max_absolute for parity in parities),
        max_relative=max(parity.max_relative for parity in parities),
        cosine=min(parity.cosine for parity in parities),
    )


def _parity(golden: npt.NDArray[np.generic], actual: npt.NDArray[np.generic]) -> Parity:
    if golden.shape != actual.shape or not np.isfinite(actual).all():
        return Parity(float("inf"), float("inf"), -1.0)
    expected, found = golden.astype(np.float64).ravel(), actual.astype(np.float64).ravel()
    difference = float(np.abs(expected - found).max())
    scale = float(np.abs(expected).max())
    norms = float(np.linalg.norm(expected) * np.linalg.norm(found))
    relative = difference / scale if scale else (0.0 if difference == 0 else float("inf"))
    cosine = float(expected @ found) / norms if norms else float(difference == 0)
    return Parity(difference, relative, cosine)
