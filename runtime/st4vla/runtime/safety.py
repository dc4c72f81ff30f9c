"""What stands between a policy's output and a robot."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import UnsafeOutputError
from st4vla.contracts.messages import ActionRepresentation

#: Share of its motion that is left of an action that is handed out slowly.
SLOW_FACTOR = 0.5


def require_finite(actions: npt.NDArray[np.float32]) -> None:
    """Refuse a chunk [T, A] that holds NaN or infinity.

    Raises:
        UnsafeOutputError: Names the first offending action and dimension.
    """
    finite = np.isfinite(actions)
    if not finite.all():
        step, dimension = np.argwhere(~finite)[0]
        value = actions[step, dimension]
        msg = f"the policy returned {value} in action {step}, dimension {dimension}; the chunk is withheld"
        raise UnsafeOutputError(msg)


def slow_down(
    actions: npt.NDArray[np.float32], representation: ActionRepresentation, gripper_index: int | None
) -> npt.NDArray[np.float32]:
    """Return relative actions [..., A] with `SLOW_FACTOR` of their motion; the gripper's dimension stays.

    Raises:
        ValueError: Actions that name positions, which have no speed of their own.
    """
    require_speed(representation)
    factors = np.full(actions.shape[-1], SLOW_FACTOR, np.float32)
    if gripper_index is not None:
        factors[gripper_index] = 1.0
    return actions * factors


def require_speed(representation: ActionRepresentation) -> None:
    """Refuse actions that cannot be slowed down by scaling them.

    Raises:
        ValueError: They name positions.
    """
    if representation is ActionRepresentation.JOINT_POSITION:
        msg = "joint positions cannot be scaled to slow an arm down; give such a policy no age at which to slow down"
        raise ValueError(msg)
