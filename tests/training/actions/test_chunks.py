import numpy as np
import pytest

from st4vla.training.actions.chunks import chunk_at, moving_frames

ACTIONS = np.arange(10, dtype=np.float32).reshape(5, 2)


def test_a_chunk_within_an_episode_is_whole() -> None:
    chunk = chunk_at(ACTIONS, 1, 3)
    np.testing.assert_array_equal(chunk.actions, ACTIONS[1:4])
    assert chunk.mask.all()


def test_past_the_end_the_last_action_is_repeated_and_masked() -> None:
    chunk = chunk_at(ACTIONS, 3, 4)
    np.testing.assert_array_equal(chunk.actions, ACTIONS[[3, 4, 4, 4]])
    assert chunk.mask.tolist() == [True, True, False, False]


@pytest.mark.parametrize("frame", [-1, 5])
def test_a_frame_outside_of_the_episode_is_refused(frame: int) -> None:
    with pytest.raises(IndexError, match=f"frame {frame} of an episode of 5"):
        chunk_at(ACTIONS, frame, 2)


def test_pauses_are_left_out_but_not_the_gripper_s_changes() -> None:
    actions = np.zeros((6, 4), np.float32)
    actions[1, 0] = 0.01
    actions[2, 1] = -0.0004
    actions[4:, 3] = 1
    assert moving_frames(actions, moving=slice(0, 3), gripper_index=3).tolist() == [1, 4]
    assert moving_frames(actions, moving=slice(0, 3), gripper_index=None).tolist() == [1]


def test_an_episode_without_movement_keeps_a_frame() -> None:
    assert moving_frames(np.zeros((4, 3), np.float32), moving=slice(0, 3), gripper_index=None).tolist() == [0]
