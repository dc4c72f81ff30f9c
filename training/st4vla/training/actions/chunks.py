"""From an episode's actions to the chunks that are learnt: windows, their ends, and frames in which nothing happens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: A frame whose action moves less than this and leaves the gripper alone is a pause (reference: 5e-4 on x, y and z).
PAUSE_EPSILON = 5e-4


@dataclass(frozen=True)
class Chunk:
    """T actions from a frame on.

    Attributes:
        actions: float32 [T, A]. Past the episode's end the last action is repeated, so that nothing wild enters the
            network, and masked, so that nothing is learnt from it.
        mask: bool [T], False past the episode's end.
    """

    actions: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]


def chunk_at(actions: npt.NDArray[np.float32], frame: int, horizon: int) -> Chunk:
    """Return the chunk that begins at a frame of an episode.

    Args:
        actions: The episode's, [L, A].
        frame: From 0 to L - 1.
        horizon: T.

    Raises:
        IndexError: The frame is not one of the episode's.
    """
    length = len(actions)
    if not 0 <= frame < length:
        msg = f"frame {frame} of an episode of {length}"
        raise IndexError(msg)
    indices = frame + np.arange(horizon)
    return Chunk(actions[np.minimum(indices, length - 1)], indices < length)


def moving_frames(
    actions: npt.NDArray[np.float32], *, moving: slice, gripper_index: int | None, epsilon: float = PAUSE_EPSILON
) -> npt.NDArray[np.intp]:
    """Return the frames at which something happens, ascending: the arm moves, or the gripper changes.

    An episode in which nothing ever happens keeps its first frame, so that it does not vanish without a word.

    Args:
        actions: Relative actions, [L, A], in the robot's units.
        moving: The dimensions whose size says that the arm moves.
        gripper_index: The gripper's dimension, or None.
        epsilon: The largest absolute value that still counts as no movement.
    """
    moves = np.abs(actions[:, moving]).max(axis=1) > epsilon
    if gripper_index is not None:
        gripper = actions[:, gripper_index]
        moves |= np.concatenate([[False], gripper[1:] != gripper[:-1]])
    frames = np.flatnonzero(moves)
    return frames if len(frames) else np.zeros(1, np.intp)
