"""What a product in int8 needs to know of its activations: their range, and how much of it the weights take over."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from st4vla.export.quantization.weights import Floats, QuantizedWeight, quantize_int8

_LARGEST = 127
#: How much of the activations' spread the weights take over; 0 leaves all as it is.
_STRENGTHS = (0.0, 0.5, 0.75)
#: Shares of the largest activation that become the largest whole number.
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.55, 0.4)
_TINY = 1e-5


@dataclass(frozen=True)
class Observed:
    """Activations that a product was seen to multiply.

    Attributes:
        rows: Some of them, float32 [rows, in].
        largest: Largest absolute value of each channel over all of them, [in].
    """

    rows: Floats
    largest: Floats

    def joined(self, other: Observed) -> Observed:
        """Return what both saw."""
        return Observed(np.concatenate([self.rows, other.rows]), np.maximum(self.largest, other.largest))


@dataclass(frozen=True)
class Scaling:
    """How activations become int8.

    Attributes:
        smoothing: What each channel is divided by, and the weight's rows multiplied with, [in].
        scale: Of the divided activations.
        importance: Mean square of each channel, [in]; None where it is not known.
        int4: The weight in int4, where it has been found already; None leaves that to `quantize_int4`.
    """

    smoothing: Floats
    scale: float
    importance: Floats | None = None
    int4: QuantizedWeight | None = None

    @property
    def smooths(self) -> bool:
        """Whether it divides at all."""
        return bool((self.smoothing != 1).any())

    def rounded(self, activations: Floats) -> Floats:
        """Return activations [..., in] as int8 would hold them, divided by the smoothing."""
        whole = np.clip(np.rint(activations / self.smoothing / np.float32(self.scale)), -_LARGEST - 1, _LARGEST)
        result: Floats = whole * np.float32(self.scale)
        return result


def choose_scaling(observed: Observed, weights: list[Floats]) -> Scaling:
    """Return the scaling with which the products of the observed activations err least.

    Smoothing is that of Xiao et al., "SmoothQuant" (2023): channel j is divided by max|x_j|^a / max|w_j|^(1 - a).

    Args:
        observed: What was seen.
        weights: All that multiply these activations, each [in, out].
    """
    largest_weight = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    exact = [observed.rows @ weight for weight in weights]
    best, least = None, np.inf
    for strength in _STRENGTHS:
        smoothing = _smoothing(observed.largest, largest_weight, strength)
        whole = [quantize_int8(weight * smoothing[:, None]).floats() for weight in weights]
        largest = float((observed.largest / smoothing).max())
        for share in _SHARES:
            scaling = Scaling(smoothing, max(largest * share, _TINY) / _LARGEST)
            rounded = scaling.rounded(observed.rows)
            error = sum(float(np.square(rounded @ each - true).sum()) for each, true in zip(whole, exact, strict=True))
            if error < least:
                best, least = scaling, error
    assert best is not None  # noqa: S101 - errors are finite
    return replace(best, importance=np.square(observed.rows).mean(axis=0))


def _smoothing(activations: Floats, weights: Floats, strength: float) -> Floats:
    if not strength:
        return np.ones_like(activations)
    factors = np.maximum(activations, _TINY) ** strength / np.maximum(weights, _TINY) ** (1 - strength)
    # Only how channels relate to each other counts; the scale takes the rest.
    smoothing: Floats = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
    return smoothing
