import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st4vla.contracts import wire_table
from st4vla.contracts.errors import (
    ChecksumError,
    ForeignMessageError,
    MalformedMessageError,
    TruncatedMessageError,
    WireError,
    WireVersionError,
)
from st4vla.contracts.messages import ActionChunk, ActionRepresentation, Hello, Observation, RobotState, View
from st4vla.contracts.wire import checksum, decode, encode


def observation(**changes: object) -> Observation:
    pixels = np.arange(4 * 3 * 3, dtype=np.uint8).reshape(4, 3, 3)
    state = RobotState(5, np.arange(7.0), np.arange(7.0) / 2, np.eye(4), 0.04)
    views = (View.from_pixels("agentview", pixels, 100), View.from_pixels("wrist", pixels[::-1], 90))
    fields: dict[str, object] = {"sequence": 3, "views": views, "instruction": "lift the cube", "seed": 2**64 - 1}
    fields |= {"robot_state": state, "deadline_ns": 7, "wants_plans": True, "sent_ns": 11}
    return Observation(**(fields | changes))  # type: ignore[arg-type]


def patched(frame: bytearray, offset: int, code: str, value: int) -> bytearray:
    """Change a field and make the checksum right again: what a hostile client would send."""
    struct.pack_into(code, frame, offset, value)
    struct.pack_into("<I", frame, 12, checksum(frame))
    return frame


def test_an_observation_survives_the_way() -> None:
    sent = observation()
    got = decode(encode(sent))
    assert isinstance(got, Observation)
    assert (got.sequence, got.instruction, got.seed, got.deadline_ns) == (3, "lift the cube", 2**64 - 1, 7)
    assert (got.wants_plans, got.replan, got.sent_ns, got.capture_ns) == (True, False, 11, 90)
    for ours, theirs in zip(sent.views, got.views, strict=True):
        np.testing.assert_array_equal(ours.pixels, theirs.pixels)
    assert got.robot_state is not None
    np.testing.assert_array_equal(got.robot_state.joint_positions_rad, np.arange(7.0))


def test_pictures_are_not_copied_when_decoded() -> None:
    frame = encode(observation())
    got = decode(frame)
    assert isinstance(got, Observation)
    assert np.shares_memory(got.views[0].data, np.frombuffer(frame, np.uint8))


def test_each_kind_of_bad_bytes_has_its_own_error() -> None:
    frame = encode(observation())
    with pytest.raises(ForeignMessageError, match="begins with b'GET '"):
        decode(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ForeignMessageError):
        decode(b"")
    with pytest.raises(TruncatedMessageError, match="its header announces"):
        decode(frame[:-1])
    with pytest.raises(TruncatedMessageError, match="a header alone has 32"):
        decode(frame[:20])
    flipped = bytearray(frame)
    flipped[-1] ^= 1
    with pytest.raises(ChecksumError, match="altered on the way"):
        decode(flipped)
    with pytest.raises(WireVersionError, match="wire version 9; this side speaks 2"):
        decode(patched(bytearray(frame), 4, "<H", 9))
    with pytest.raises(MalformedMessageError, match="unknown message kind 99"):
        decode(patched(bytearray(frame), 6, "<H", 99))


@pytest.mark.parametrize(
    ("record", "field", "code", "value", "match"),
    [
        ("observation", "instruction_encoding", "<H", 7, "unknown instruction encoding 7; allowed are 1"),
        ("observation", "view_count", "<H", 0, "0 views; 1 to 8"),
        ("observation", "view_count", "<H", 9, "9 views; 1 to 8"),
        ("observation", "instruction_bytes", "<I", 5000, "5000 bytes; at most 4096"),
        ("observation", "deadline_ns", "<q", -1, "deadline_ns -1"),
    ],
)
def test_fields_out_of_range_are_named(record: str, field: str, code: str, value: int, match: str) -> None:
    assert record == "observation"
    offset = wire_table.HEADER.size + next(o for f, o in wire_table.OBSERVATION.offsets if f.name == field)
    with pytest.raises(MalformedMessageError, match=match):
        decode(patched(encode(observation()), offset, code, value))


@pytest.mark.parametrize(
    ("field", "code", "value", "match"),
    [
        ("encoding", "<H", 5, "unknown image encoding 5"),
        ("height", "<H", 0, "each side may have"),
        ("width", "<H", 4, "needs 48 bytes of RGB; got 36"),
        ("offset", "<I", 8, "lies at bytes 8"),
        ("offset", "<I", 2**31, "lies at bytes"),
    ],
)
def test_views_that_lie_are_refused(field: str, code: str, value: int, match: str) -> None:
    first = wire_table.HEADER.size + wire_table.OBSERVATION.size + wire_table.ROBOT_STATE.size
    offset = first + next(o for f, o in wire_table.VIEW.offsets if f.name == field)
    with pytest.raises(MalformedMessageError, match=match):
        decode(patched(encode(observation()), offset, code, value))


def test_a_fresh_observation_arrives_as_one() -> None:
    for fresh in (False, True):
        decoded = decode(encode(observation(fresh=fresh)))
        assert isinstance(decoded, Observation)
        assert decoded.fresh is fresh


def test_nan_never_passes() -> None:
    chunk = ActionChunk(
        chunk_id=1,
        actions=np.full((2, 3), np.nan, np.float32),
        period_ns=50,
        representation=ActionRepresentation.EE_DELTA,
        gripper_index=2,
        observation_sequence=1,
        observation_sent_ns=1,
        frame_capture_ns=1,
        start_ns=1,
        plan_id=1,
        plan_capture_ns=1,
        seed=0,
        received_ns=1,
        inference_ns=1,
    )
    with pytest.raises(MalformedMessageError, match="must be finite"):
        decode(encode(chunk))


def test_what_the_wire_cannot_carry_is_refused_when_encoded() -> None:
    with pytest.raises(MalformedMessageError, match="instruction of 5000 bytes"):
        encode(observation(instruction="x" * 5000))
    with pytest.raises(MalformedMessageError, match=r"observation\.seed cannot hold"):
        encode(observation(seed=2**64))
    with pytest.raises(MalformedMessageError, match="0 views"):
        encode(observation(views=()))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_altered_messages_with_a_true_checksum_never_escape_as_another_error(data: st.DataObject) -> None:
    frame = encode(data.draw(st.sampled_from([observation(), Hello(1)])))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    frame = frame[: data.draw(st.integers(0, len(frame)))] if data.draw(st.booleans()) else frame
    if len(frame) >= wire_table.HEADER.size:
        struct.pack_into("<I", frame, 8, len(frame) - wire_table.HEADER.size)
        struct.pack_into("<I", frame, 12, checksum(frame))
    with contextlib.suppress(WireError):
        decode(frame)
