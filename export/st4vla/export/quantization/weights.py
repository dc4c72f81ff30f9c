"""Weights as whole numbers with scales; all symmetric, so that zero stays zero and TensorRT takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
#: Weights of one output that share a scale in int4.
INT4_BLOCK = 64
_SCALE_TYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
_INT8_LARGEST, _INT4_LARGEST = 127, 7
#: Shares of the largest weight that become the largest whole number; the one with the smallest squared error is kept.
_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight [in, out].

    Attributes:
        values: Whole numbers, int8 or int4, [in, out].
        scales: [out] for one scale an output, [in / block, out] for blocks.
        block: Rows that share a scale; 0 for all of them.
    """

    values: npt.NDArray[np.generic]
    scales: Floats
    block: int = 0

    def floats(self) -> Floats:
        """Return the numbers that they stand for, float32 [in, out]."""
        scales = self.scales.repeat(self.block, axis=0) if self.block else self.scales
        return self.values.astype(np.float32) * scales

    def scaled_in(self, scale_type: str) -> QuantizedWeight:
        """Return the same with scales that `scale_type` can hold."""
        scales = self.scales.astype(_SCALE_TYPES[scale_type]).astype(np.float32)
        return replace(self, scales=scales)


def quantize_int8(weight: Floats, scale_type: str = "float32") -> QuantizedWeight:
    """Return a weight [in, out] in int8, one scale an output; scales are numbers that `scale_type` can hold."""
    scales = _scales(np.abs(weight).max(axis=0), _INT8_LARGEST, scale_type)
    return QuantizedWeight(_rounded(weight / scales, _INT8_LARGEST).astype(np.int8), scales)


def fits_int4(rows: int) -> bool:
    """Say whether a weight's rows divide into blocks."""
    return rows % INT4_BLOCK == 0


def quantize_int4(weight: Floats, scale_type: str = "float32", importance: Floats | None = None) -> QuantizedWeight:
    """Return a weight [in, out] in int4, rounded to nearest, with the scale of each block that errs least.

    Args:
        weight: [in, out].
        scale_type: Scales are numbers that it can hold.
        importance: How much the error of each row counts, [in]: the mean square of what it is multiplied with. None
            counts all alike.

    Raises:
        ValueError: Its rows do not divide into blocks; see `fits_int4`.
    """
    rows, columns = weight.shape
    if not fits_int4(rows):
        raise ValueError(f"a weight of {rows} rows does not divide into blocks of {INT4_BLOCK}")
    blocks = weight.reshape(-1, INT4_BLOCK, columns)
    largest = np.abs(blocks).max(axis=1)
    best_scales = _scales(largest, _INT4_LARGEST, scale_type)
    counts = np.ones(rows, np.float32) if importance is None else importance
    counts = counts.reshape(-1, INT4_BLOCK, 1)
    best_error = np.full(largest.shape, np.inf, np.float32)
    for share in _SHARES:
        scales = _scales(largest * np.float32(share), _INT4_LARGEST, scale_type)
        rounded = _rounded(blocks / scales[:, None], _INT4_LARGEST) * scales[:, None]
        error = (np.square(rounded - blocks) * counts).sum(axis=1)
        better = error < best_error
        best_scales, best_error = np.where(better, scales, best_scales), np.where(better, error, best_error)
    values = _rounded(blocks / best_scales[:, None], _INT4_LARGEST).reshape(weight.shape)
    return QuantizedWeight(values.astype(ml_dtypes.int4), best_scales, INT4_BLOCK)


def _scales(largest: Floats, whole: int, scale_type: str) -> Floats:
    """Return scales that take the largest numbers to the largest whole one; 1 where all are zero."""
    kind = _SCALE_TYPES[scale_type]
    smallest = np.float32(ml_dtypes.finfo(kind).smallest_normal)  # type: ignore[no-untyped-call]
    scales: Floats = np.where(largest > 0, np.maximum(largest / whole, smallest), 1.0).astype(kind).astype(np.float32)
    return scales


def _rounded(values: Floats, whole: int) -> Floats:
    rounded: Floats = np.clip(np.rint(values), -whole, whole)
    return rounded
