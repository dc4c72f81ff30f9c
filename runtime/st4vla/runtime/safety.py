"""What stands between a policy's output and a robot."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import UnsafeOutputError


def require_finite(actions: npt.NDArray[np.float32]) -> None:
    """Refuse a chunk [T, A] that holds NaN or infinity.

    Raises:
        UnsafeOutputError: Names the first offending action and dimension.
    """
    bad = np.argwhere(~np.isfinite(actions))
    if len(bad):
        step, dimension = bad[0]
        value = actions[step, dimension]
        msg = f"the policy returned {value} in action {step}, dimension {dimension}; the chunk is withheld"
        raise UnsafeOutputError(msg)
