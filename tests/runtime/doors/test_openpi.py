from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from st4vla.contracts.errors import MalformedMessageError, UsageError
from st4vla.contracts.messages import ActionChunk, ActionRepresentation
from st4vla.runtime.doors.dialect import Request
from st4vla.runtime.doors.openpi import OpenpiDialect
from st4vla.runtime.doors.options import DoorOptions
from st4vla.runtime.policy import PolicyInfo

Pictures = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def dialect(core: Any) -> OpenpiDialect:
    return OpenpiDialect(core, DoorOptions("openpi"))


def packed(dialect: OpenpiDialect, **observation: object) -> bytes:
    return dialect._packing.pack(observation)


def test_an_observation_of_the_original_client_is_understood(
    dialect: OpenpiDialect, golden: Callable[[str], bytes], pictures: Pictures
) -> None:
    (row,) = dialect.read(golden("openpi_request"), 7).rows
    assert row.instruction == "put the bowl on the plate"
    assert [(view.name, view.capture_ns) for view in row.views] == [("agentview", 7), ("wrist", 7)]
    for view, picture in zip(row.views, pictures, strict=True):
        np.testing.assert_array_equal(view.pixels, picture)


def test_the_answer_is_what_the_original_library_would_pack(
    dialect: OpenpiDialect, golden: Callable[[str], bytes], golden_chunk: ActionChunk
) -> None:
    assert dialect.reply(Request(), [golden_chunk], 3_500_000) == golden("openpi_reply")


def test_the_greeting_says_what_is_served(dialect: OpenpiDialect) -> None:
    greeting = dialect._packing.unpack(dialect.greeting())
    assert greeting["bundle"] == "null"
    assert (greeting["action_horizon"], greeting["action_dim"], greeting["action_period_s"]) == (4, 7, 0.05)
    assert greeting["image_keys"] == ["observation/image", "observation/wrist_image"]
    assert greeting["image_sizes"] == [[8, 8], [8, 8]]


def test_droids_keys_and_pictures_in_a_map_are_understood(core: Any, pictures: Pictures) -> None:
    options = DoorOptions("openpi", view_keys=(("images/cam_high", "agentview"),))
    dialect = OpenpiDialect(core, options)
    images = {"cam_high": pictures[0].transpose(2, 0, 1).copy()}
    data = dialect._packing.pack(
        {"images": images, "observation/wrist_image_left": pictures[1], "state": np.ones(14), "prompt": "fold"}
    )
    (row,) = dialect.read(data, 7).rows
    np.testing.assert_array_equal(row.views[0].pixels, pictures[0])
    np.testing.assert_array_equal(row.views[1].pixels, pictures[1])


def test_a_bundle_of_joints_has_droids_gripper(core: Any, golden_chunk: ActionChunk) -> None:
    joints = msgspec.structs.replace(core.info.action, representation=ActionRepresentation.JOINT_DELTA)
    core.info = PolicyInfo(core.info.name, core.info.digest, core.info.views, joints)
    dialect = OpenpiDialect(core, DoorOptions("openpi"))
    reply = dialect._packing.unpack(dialect.reply(Request(), [golden_chunk], 0))
    assert reply["actions"][:, 6].tolist() == [0, 1, 0, 1]


def test_the_gripper_can_be_had_as_it_is(core: Any, golden_chunk: ActionChunk) -> None:
    dialect = OpenpiDialect(core, DoorOptions("openpi", gripper=(1.0, 0.0)))
    reply = dialect._packing.unpack(dialect.reply(Request(), [golden_chunk], 0))
    np.testing.assert_array_equal(reply["actions"], golden_chunk.actions)


def test_an_observation_that_does_not_fit_is_answered_with_a_sentence(
    dialect: OpenpiDialect, pictures: Pictures
) -> None:
    lacking = {"observation/image": pictures[0], "prompt": "lift"}
    broken = lacking | {"observation/wrist_image": np.zeros((8, 8), np.uint8)}
    for observation, said in (
        ({"observation/image": pictures[0]}, "no 'prompt'"),
        (lacking | {"prompt": 3}, "'prompt' must be one text"),
        (lacking, "no picture for the view 'wrist'"),
        (broken, "'observation/wrist_image' must be a picture"),
    ):
        request = dialect.read(packed(dialect, **observation), 7)
        assert request.rows == ()
        assert isinstance(request.answer, str)
        assert said in request.answer
        assert "Traceback" not in request.answer


def test_bytes_that_are_no_observation_are_refused(dialect: OpenpiDialect) -> None:
    for data in (b"", b"\xc1", b"\x93\x01\x02\x03", dialect._packing.pack("text")):
        with pytest.raises(MalformedMessageError):
            dialect.read(data, 7)


def test_a_key_for_no_view_is_refused_when_the_door_is_made(core: Any) -> None:
    with pytest.raises(UsageError, match="front=top names no view"):
        OpenpiDialect(core, DoorOptions("openpi", view_keys=(("front", "top"),)))
