"""A chunk's actions as a foreign client takes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from st4vla.contracts.action import ActionSpec
from st4vla.contracts.errors import UsageError
from st4vla.contracts.messages import ActionChunk, ActionRepresentation
from st4vla.runtime.doors.options import Part

#: What this project calls open and closed.
OWN_GRIPPER = (1.0, 0.0)


def present(chunk: ActionChunk, gripper: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Return a chunk's actions float32 [T, A] with the gripper between the client's values for open and closed."""
    if chunk.gripper_index is None or gripper == OWN_GRIPPER:
        return chunk.actions
    opened, closed = gripper
    actions: npt.NDArray[np.float32] = chunk.actions.copy()
    actions[:, chunk.gripper_index] = closed + (opened - closed) * actions[:, chunk.gripper_index]
    return actions


def action_parts(spec: ActionSpec, given: tuple[Part, ...]) -> tuple[Part, ...]:
    """Return under which names GR00T's clients find an action's dimensions.

    Without a wish: for an end effector of seven dimensions the names of the LIBERO and SimplerEnv examples, for joints
    with a gripper at the end those of the DROID example, and else the whole action as one.

    Raises:
        UsageError: The wish leaves the action's dimensions.
    """
    beyond = [part.name for part in given if part.last >= spec.dim]
    if beyond:
        msg = f"--door: actions={beyond[0]} ends beyond the {spec.dim} dimensions of this bundle, 0 to {spec.dim - 1}"
        raise UsageError(msg)
    if given:
        return given
    last_is_gripper = spec.gripper_index == spec.dim - 1
    if spec.representation is ActionRepresentation.EE_DELTA and spec.dim == 7 and last_is_gripper:
        names = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
        return tuple(Part(name, index, index) for index, name in enumerate(names))
    if spec.representation is not ActionRepresentation.EE_DELTA and spec.dim > 1 and last_is_gripper:
        return (Part("joint_position", 0, spec.dim - 2), Part("gripper_position", spec.dim - 1, spec.dim - 1))
    return (Part("action", 0, spec.dim - 1),)
