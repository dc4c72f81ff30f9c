import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from st4vla.contracts.errors import UsageError
from st4vla.contracts.messages import ActionChunk, ActionRepresentation
from st4vla.runtime.doors.options import Part
from st4vla.runtime.doors.presenting import action_parts, present
from st4vla.runtime.policy import NullPolicy

SPEC = NullPolicy().info.action


def test_the_gripper_goes_between_the_clients_open_and_closed(golden_chunk: ActionChunk) -> None:
    presented = present(golden_chunk, (-1.0, 1.0))
    assert presented[:, 6].tolist() == [-1, 1, -1, 1]
    assert presented.dtype == np.float32
    np.testing.assert_array_equal(presented[:, :6], golden_chunk.actions[:, :6])
    assert golden_chunk.actions[:, 6].tolist() == [1, 0, 1, 0]


def test_without_a_gripper_or_with_our_own_values_nothing_changes(golden_chunk: ActionChunk) -> None:
    np.testing.assert_array_equal(present(golden_chunk, (1.0, 0.0)), golden_chunk.actions)
    bare = replace(golden_chunk, gripper_index=None)
    np.testing.assert_array_equal(present(bare, (-1.0, 1.0)), golden_chunk.actions)


def test_an_end_effector_gets_the_names_of_libero() -> None:
    assert [part.name for part in action_parts(SPEC, ())] == ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]


def test_joints_get_the_names_of_droid() -> None:
    joints = msgspec.structs.replace(SPEC, representation=ActionRepresentation.JOINT_POSITION)
    assert action_parts(joints, ()) == (Part("joint_position", 0, 5), Part("gripper_position", 6, 6))


def test_anything_else_is_one_action() -> None:
    assert action_parts(msgspec.structs.replace(SPEC, gripper_index=None), ()) == (Part("action", 0, 6),)


def test_a_wish_is_granted_within_the_dimensions() -> None:
    wish = (Part("arm", 0, 5), Part("hand", 6, 6))
    assert action_parts(SPEC, wish) == wish
    with pytest.raises(UsageError, match="hand ends beyond the 7 dimensions"):
        action_parts(SPEC, (Part("hand", 6, 7),))
