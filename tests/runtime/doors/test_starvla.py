from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.errors import MalformedMessageError
from st4vla.contracts.messages import ActionChunk
from st4vla.runtime.doors.dialect import MAX_ROWS
from st4vla.runtime.doors.options import DoorOptions
from st4vla.runtime.doors.starvla import StarvlaDialect

Golden = Callable[[str], bytes]
Pictures = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def dialect(core: Any) -> StarvlaDialect:
    return StarvlaDialect(core, DoorOptions("starvla"))


def answer(dialect: StarvlaDialect, message: object) -> Any:
    request = dialect.read(dialect._packing.pack(message), 7)
    assert request.rows == ()
    assert isinstance(request.answer, bytes)
    return dialect._packing.unpack(request.answer)


def test_a_request_of_the_original_client_is_understood_and_answered(
    dialect: StarvlaDialect, golden: Golden, golden_chunk: ActionChunk, pictures: Pictures
) -> None:
    request = dialect.read(golden("starvla_request"), 7)
    (row,) = request.rows
    assert row.instruction == "put the bowl on the plate"
    for view, picture in zip(row.views, pictures, strict=True):
        np.testing.assert_array_equal(view.pixels, picture)
    assert dialect.reply(request, [golden_chunk], 0) == golden("starvla_reply")
    assert dialect.refusal("the engine failed", request.context) == golden("starvla_error")


def test_the_greeting_is_the_handshake_that_the_clients_read(core: Any) -> None:
    dialect = StarvlaDialect(core, DoorOptions("starvla", unnorm_keys=("franka", "oxe_bridge")))
    greeting = dialect._packing.unpack(dialect.greeting())
    assert greeting["action_chunk_size"] == 4
    assert greeting["available_unnorm_keys"] == ["franka", "oxe_bridge"]
    assert greeting["default_unnorm_key"] == "franka"
    assert greeting["training_obs_image_size"] == [8, 8]


def test_several_examples_are_several_rows(
    dialect: StarvlaDialect, pictures: Pictures, golden_chunk: ActionChunk
) -> None:
    examples = [{"image": list(pictures), "lang": text, "state": np.zeros((1, 8))} for text in ("a", "b")]
    payload = {"examples": examples, "use_ddim": True, "num_ddim_steps": 10, "do_sample": False}
    message = {"type": "infer", "request_id": "r7", "payload": payload}
    request = dialect.read(dialect._packing.pack(message), 7)
    assert [row.instruction for row in request.rows] == ["a", "b"]
    reply = dialect._packing.unpack(dialect.reply(request, [golden_chunk] * 2, 0))
    assert (reply["request_id"], reply["data"]["actions"].shape) == ("r7", (2, 4, 7))


def test_internvla_m1s_client_is_understood_and_gets_its_first_action(
    dialect: StarvlaDialect, golden: Golden, golden_chunk: ActionChunk, pictures: Pictures
) -> None:
    begun = dialect.read(golden("internvla_m1_init"), 7)
    assert dialect._packing.unpack(begun.answer)["type"] == "init_result"  # type: ignore[arg-type]
    again = dialect.read(golden("internvla_m1_reset"), 7)
    assert again.reset
    assert dialect._packing.unpack(again.answer)["type"] == "reset_result"  # type: ignore[arg-type]
    request = dialect.read(golden("internvla_m1_request"), 7)
    np.testing.assert_array_equal(request.rows[0].views[1].pixels, pictures[1])
    reply = dialect._packing.unpack(dialect.reply(request, [golden_chunk], 0))
    assert reply["request_id"] == "smoke-test"
    first = reply["data"]["raw_action"]
    assert np.concatenate(list(first.values())).tolist() == golden_chunk.actions[0].tolist()
    assert list(first) == ["xyz_delta", "rotation_delta", "open_gripper"]


def test_pictures_may_be_mapped_by_their_number(core: Any, pictures: Pictures) -> None:
    dialect = StarvlaDialect(core, DoorOptions("starvla", view_keys=(("0", "wrist"), ("1", "agentview"))))
    (row,) = dialect.read(dialect._packing.pack({"examples": [{"image": list(pictures), "lang": "a"}]}), 7).rows
    np.testing.assert_array_equal(row.views[0].pixels, pictures[1])


def test_ping_and_reset_are_answered_in_their_envelope(dialect: StarvlaDialect) -> None:
    assert answer(dialect, {"type": "ping", "request_id": 3}) == {
        "status": "ok",
        "ok": True,
        "type": "ping",
        "request_id": 3,
    }
    assert dialect.read(dialect._packing.pack({"type": "reset", "payload": {"instruction": "a"}}), 7).reset


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"type": "kill"}, "unknown type 'kill'"),
        ({}, "must hold 'images'"),
        ({"type": "infer", "payload": [1]}, "payload must be a map"),
        ({"examples": []}, "1 to"),
        ({"examples": [{}] * (MAX_ROWS + 1)}, "1 to"),
        ({"examples": "text"}, "1 to"),
        ({"examples": [3]}, "must hold 'image'"),
        ({"examples": [{"image": []}]}, "must hold 'image' and 'lang'"),
        ({"examples": [{"image": [], "lang": "a"}]}, "0 pictures; this bundle takes 2: agentview, wrist"),
        ({"examples": [{"image": [1, 2], "lang": "a"}]}, "'0' must be a picture"),
        ({"examples": [], "unnorm_key": "oxe_rt1"}, "open the door with unnorm_key=oxe_rt1"),
        ({"examples": [], "unnorm_key": np.zeros(3)}, "is none of null"),
        ({"type": np.zeros(3), "request_id": np.zeros(3), "examples": 1}, "1 to"),
    ],
    ids=repr,
)
def test_a_request_that_does_not_fit_gets_the_errors_envelope(
    dialect: StarvlaDialect, message: object, said: str
) -> None:
    reply = answer(dialect, message)
    assert (reply["status"], reply["ok"], reply["request_id"]) == ("error", False, "default")
    assert said in reply["error"]["message"]


def test_bytes_that_are_no_request_are_refused(dialect: StarvlaDialect) -> None:
    for data in (b"", b"\xc1", dialect._packing.pack([1])):
        with pytest.raises(MalformedMessageError):
            dialect.read(data, 7)
