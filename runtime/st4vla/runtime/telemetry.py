"""Figures of what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentiles(values: Sequence[float], wanted: Sequence[int]) -> dict[str, float | None]:
    """Return percentiles by name, rounded to two places: ``p50``, ``p95``, and ``max`` for the 100th.

    Each is None when there is nothing to take it of.
    """
    names = ["max" if percent == 100 else f"p{percent}" for percent in wanted]
    if not values:
        return dict.fromkeys(names)
    found = np.percentile(values, wanted)
    return {name: round(float(value), 2) for name, value in zip(names, found, strict=True)}
