"""The bundle's golden inputs and outputs, and how close an engine comes to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import ManifestError, ParityError
from st4vla.contracts.manifests import Bundle, GraphSpec, Parity
from st4vla.runtime.engines.engine import Array, Engine
from st4vla.runtime.sampler import Sampler

#: Largest relative difference from the golden outputs of a bundle in float32; export is held to it too.
FLOAT32_BOUND = 1e-4
#: What a quantised graph may be farther from them than it was when it was quantised, as a factor and in addition: other
#: processors add in another order, after which other numbers are rounded up.
QUANTIZED_FACTOR, QUANTIZED_EXTRA = 1.5, 5e-3
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


def golden_part(bundle: Bundle, engine: Engine, known: Mapping[str, Array]) -> dict[str, Array]:
    """Return an engine's part in the golden chunk, from what the engines before it made of the golden inputs.

    The sampler's part is `actions`; that of the others is what they put out.

    Raises:
        EngineError: The engine failed.
    """
    if engine.name == "sampler":
        return {"actions": Sampler(engine, bundle.manifest.sampler.num_steps).sample(known)}
    return engine.run({spec.name: known[spec.name] for spec in engine.inputs})


def require_parity(bundle: Bundle, what: str, parity: Parity, shown: str, consequence: str) -> None:
    """Refuse what is too far from the golden numbers, relative to the largest of them.

    Args:
        bundle: Whose numbers they are.
        what: A graph, or ``actions``.
        parity: How far it is.
        shown: How the message calls it.
        consequence: What follows, for the message.

    Raises:
        ParityError: It is farther than a bundle of this form may be.
    """
    quantization = bundle.manifest.quantization
    bound = FLOAT32_BOUND
    if quantization is not None:
        bound = QUANTIZED_FACTOR * quantization.expected[what].max_relative + QUANTIZED_EXTRA
    if not parity.max_relative <= bound:
        msg = (
            f"{shown} differs from the golden outputs by {parity.max_relative:.2e} (relative), allowed is {bound:.0e}; "
            f"{consequence}"
        )
        raise ParityError(msg)


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
