import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.errors import MalformedMessageError, UsageError
from st4vla.contracts.messages import ActionChunk
from st4vla.runtime.doors.dialect import MAX_ROWS
from st4vla.runtime.doors.gr00t import LANGUAGE_KEY, Gr00tDialect
from st4vla.runtime.doors.options import DoorOptions, Part

Golden = Callable[[str], bytes]
Pictures = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def dialect(core: Any) -> Gr00tDialect:
    return Gr00tDialect(core, DoorOptions("gr00t"))


def call(dialect: Gr00tDialect, endpoint: str, **data: object) -> Any:
    return dialect.read(dialect._packing.pack({"endpoint": endpoint, "data": data}), 7)


def said(dialect: Gr00tDialect, request: Any) -> Any:
    assert request.rows == ()
    return dialect._packing.unpack(request.answer)


@pytest.mark.parametrize(
    "names",
    [
        ("gr00t_n16_request_flat", "gr00t_n16_reply_flat"),
        ("gr00t_n16_request_nested", "gr00t_n16_reply_nested"),
        ("gr00t_n15_request", "gr00t_n15_reply"),
    ],
)
def test_observations_of_the_original_clients_are_understood_and_answered(
    dialect: Gr00tDialect, golden: Golden, golden_chunk: ActionChunk, pictures: Pictures, names: tuple[str, str]
) -> None:
    request = dialect.read(golden(names[0]), 7)
    (row,) = request.rows
    assert row.instruction == "put the bowl on the plate"
    for view, picture in zip(row.views, pictures, strict=True):
        np.testing.assert_array_equal(view.pixels, picture)
    assert dialect.reply(request, [golden_chunk], 3_500_000) == golden(names[1])


def test_the_other_calls_of_the_original_client_are_answered(dialect: Gr00tDialect, golden: Golden) -> None:
    assert said(dialect, dialect.read(golden("gr00t_n16_ping"), 7))["status"] == "ok"
    reset = dialect.read(golden("gr00t_n16_reset"), 7)
    assert reset.reset
    assert said(dialect, reset) == {}
    modalities = said(dialect, dialect.read(golden("gr00t_n16_get_modality_config"), 7))
    assert all(modality["__ModalityConfig_class__"] for modality in modalities.values())
    lists = {name: modality["as_json"] for name, modality in modalities.items()}
    assert lists["video"] == {"delta_indices": [0], "modality_keys": ["image", "wrist_image"]}
    assert lists["action"]["delta_indices"] == [0, 1, 2, 3]
    assert lists["action"]["modality_keys"] == ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    assert lists["language"]["modality_keys"] == [LANGUAGE_KEY]
    assert dialect.refusal("the engine failed") == golden("gr00t_n16_error")


def test_version_15_gets_its_lists_as_json_text(core: Any) -> None:
    dialect = Gr00tDialect(core, DoorOptions("gr00t", version="1.5"))
    modalities = said(dialect, call(dialect, "get_modality_config"))
    assert json.loads(modalities["video"]["as_json"])["modality_keys"] == ["image", "wrist_image"]


def test_no_client_ends_the_server(dialect: Gr00tDialect) -> None:
    assert "stop it where it was started" in said(dialect, call(dialect, "kill"))["error"]


def test_several_simulators_in_one_call_are_several_rows(
    dialect: Gr00tDialect, pictures: Pictures, golden_chunk: ActionChunk
) -> None:
    # Two environments, each with two frames of which the last counts.
    videos = [np.stack([np.stack([~picture, picture]), np.stack([picture, ~picture])]) for picture in pictures]
    observation = {"video.image": videos[0], "video.wrist_image": videos[1], LANGUAGE_KEY: ("a", "b")}
    request = call(dialect, "get_action", observation=observation, options=None)
    assert [row.instruction for row in request.rows] == ["a", "b"]
    np.testing.assert_array_equal(request.rows[0].views[0].pixels, pictures[0])
    np.testing.assert_array_equal(request.rows[1].views[1].pixels, ~pictures[1])
    actions, _ = dialect._packing.unpack(dialect.reply(request, [golden_chunk] * 2, 0))
    assert {array.shape for array in actions.values()} == {(2, 4, 1)}


def test_views_and_actions_take_the_names_that_they_are_given(
    core: Any, pictures: Pictures, golden_chunk: ActionChunk
) -> None:
    options = DoorOptions(
        "gr00t",
        view_keys=(("front", "agentview"),),
        actions=(Part("arm", 0, 5), Part("hand", 6, 6)),
        gripper=(0.0, 1.0),
    )
    dialect = Gr00tDialect(core, options)
    observation = {"video": {"front": pictures[0], "wrist": pictures[1]}, "language": {"task": [["lift"]]}}
    request = call(dialect, "get_action", observation=observation, options=None)
    actions, _ = dialect._packing.unpack(dialect.reply(request, [golden_chunk], 0))
    np.testing.assert_array_equal(actions["arm"], golden_chunk.actions[:, :6])
    assert actions["hand"].tolist() == [[0], [1], [0], [1]]
    config = said(dialect, call(dialect, "get_modality_config"))
    assert config["video"]["as_json"]["modality_keys"] == ["front", "wrist_image"]
    assert config["action"]["as_json"]["modality_keys"] == ["arm", "hand"]


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (None, "an observation is a map"),
        ({}, "no instruction"),
        ({LANGUAGE_KEY: "lift"}, "no picture for the view 'agentview'"),
        ({LANGUAGE_KEY: "lift", "video.image": 3, "video.wrist_image": 3}, "'video.image' must be a picture"),
        ({LANGUAGE_KEY: ["a", "b"], "video.image": np.zeros((1, 1, 8, 8, 3), np.uint8)}, "2 instructions for 1"),
        ({LANGUAGE_KEY: [], "video.image": np.zeros((0, 1, 8, 8, 3), np.uint8)}, "one B of 1 to"),
        ({LANGUAGE_KEY: [], "video.image": np.zeros((MAX_ROWS + 1, 1, 8, 8, 3), np.uint8)}, "one B of 1 to"),
        ({LANGUAGE_KEY: "a", "video.image": np.zeros((1, 0, 8, 8, 3), np.uint8)}, "'video.image' must be a picture"),
        (
            {
                LANGUAGE_KEY: "a",
                "video.image": np.zeros((1, 1, 8, 8, 3), np.uint8),
                "video.wrist_image": np.zeros((1, 8, 8, 3), np.uint8),
            },
            "one B of 1 to",
        ),
        ({LANGUAGE_KEY: [[3]], "video.image": np.zeros((8, 8, 3), np.uint8)}, "no picture for the view 'wrist'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_observation_that_does_not_fit_is_an_error(
    dialect: Gr00tDialect, observation: object, expected: str
) -> None:
    assert expected in said(dialect, call(dialect, "get_action", observation=observation, options=None))["error"]


def test_a_call_of_nothing_known_is_an_error(dialect: Gr00tDialect) -> None:
    assert "unknown endpoint 'shell'" in said(dialect, call(dialect, "shell"))["error"]
    assert "unknown endpoint" in said(dialect, dialect.read(dialect._packing.pack({"endpoint": [1]}), 7))["error"]
    for data in (b"", b"\xc1", dialect._packing.pack([1])):
        with pytest.raises(MalformedMessageError):
            dialect.read(data, 7)


def test_actions_beyond_the_bundles_are_refused_when_the_door_is_made(core: Any) -> None:
    with pytest.raises(UsageError, match="beyond the 7 dimensions"):
        Gr00tDialect(core, DoorOptions("gr00t", actions=(Part("arm", 0, 7),)))
