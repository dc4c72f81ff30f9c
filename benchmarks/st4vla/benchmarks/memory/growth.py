"""What memory grows with: a line through measured points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """Bytes of memory over bytes of weights.

    Attributes:
        slope: Bytes held for each byte of weights.
        constant: Bytes held without any.
        largest_residual: Farthest that a point is from the line, in bytes.
    """

    slope: float
    constant: float
    largest_residual: float

    def at(self, weights: float) -> float:
        """Return the bytes held for so many bytes of weights."""
        return self.constant + self.slope * weights


def fit_line(weights: Sequence[int], held: Sequence[int]) -> Line:
    """Return the line with the least squares through points; two at least."""
    slope, constant = np.polyfit(np.array(weights, float), np.array(held, float), 1)
    residuals = np.array(held) - (constant + slope * np.array(weights))
    return Line(float(slope), float(constant), float(np.abs(residuals).max()))
