"""The bundle's golden inputs and outputs, and how close an engine comes to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import ManifestError
from st4vla.contracts.manifests import Bundle, GraphSpec, Parity
from st4vla.runtime.engines.engine import Array

CHUNK_INPUTS = ("views", "token_ids", "noise", "prefix", "prefix_weights")


def load_golden(bundle: Bundle, graph: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return a graph's golden inputs and outputs by name.

    They lie in one `.npz` under ``GRAPH/input/NAME`` and ``GRAPH/output/NAME``.

    Raises:
        ManifestError: One of them is missing.
    """
    spec: GraphSpec = bundle.manifest.graphs[graph]
    inputs, outputs = ([tensor.name for tensor in side] for side in (spec.inputs, spec.outputs))
    keys = [*(f"{graph}/input/{name}" for name in inputs), *(f"{graph}/output/{name}" for name in outputs)]
    arrays = _load(bundle, keys)
    return dict(zip(inputs, arrays, strict=False)), dict(zip(outputs, arrays[len(inputs) :], strict=True))


def load_golden_chunk(bundle: Bundle) -> tuple[dict[str, Array], Array]:
    """Return what a whole policy is given, under ``policy/input/NAME``, and the actions that it answers with.

    The inputs are `views`, `token_ids`, `noise`, `prefix` and `prefix_weights`; the actions float32 [1, T, A],
    normalised.

    Raises:
        ManifestError: One of them is missing.
    """
    inputs = [f"policy/input/{name}" for name in CHUNK_INPUTS]
    arrays = _load(bundle, [*inputs, "policy/output/actions"])
    return dict(zip(CHUNK_INPUTS, arrays, strict=False)), arrays[-1]


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


def _load(bundle: Bundle, keys: Sequence[str]) -> list[Array]:
    path: Path = bundle.path(bundle.manifest.golden)
    with np.load(path, allow_pickle=False) as archive:
        missing = [key for key in keys if key not in archive]
        if missing:
            msg = f"{path} lacks {', '.join(missing)}; export the bundle again"
            raise ManifestError(msg)
        return [archive[key] for key in keys]


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
