from dataclasses import dataclass

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from st4vla.runtime.recording.records import CALL, RAW_IMAGE, Call, FrameRecord, Outcome, RawImage, ViewRecord
from st4vla.runtime.recording.schemas import Fixed32, Float32s, Schema, Timestamp, Unsigned


@dataclass(frozen=True, slots=True)
class Inner:
    number: int


@dataclass(frozen=True, slots=True)
class Everything:
    signed: int
    unsigned: Unsigned
    fixed: Fixed32
    yes: bool
    text: str
    data: bytes
    ratio: float
    numbers: Float32s
    at: Timestamp
    inner: Inner
    absent: Inner | None
    many: tuple[Inner, ...]
    shape: tuple[int, ...]


def everything(signed: int = -5, absent: Inner | None = None) -> Everything:
    numbers = np.array([0.1, -2.5], np.float32)
    many = (Inner(1), Inner(2))
    at = Timestamp(1_700_000_000_123_456_789)
    return Everything(signed, 2**64 - 1, 7, True, "ü", b"\0\1", 0.5, numbers, at, Inner(0), absent, many, (3, 4))


@pytest.mark.parametrize("absent", [None, Inner(0)])
def test_a_record_comes_back_as_it_was(absent: Inner | None) -> None:
    schema = Schema(Everything, "trial")
    record = everything(absent=absent)
    back = schema.decode(schema.encode(record))
    assert back.numbers.tobytes() == record.numbers.tobytes()
    for name in Everything.__slots__:
        if name != "numbers":
            assert getattr(back, name) == getattr(record, name), name


def test_a_number_beyond_an_int64_is_kept_modulo_two_to_the_64() -> None:
    schema = Schema(Everything)
    assert schema.decode(schema.encode(everything(2**63))).signed == -(2**63)


def test_bytes_that_are_no_record_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"not a st4vla\.Call"):
        CALL.decode(b"\xff\xff\xff")


def test_a_picture_is_what_foxglove_calls_one() -> None:
    """Field numbers and types of https://docs.foxglove.dev/docs/sdk/schemas/raw-image."""
    files = descriptor_pb2.FileDescriptorSet.FromString(RAW_IMAGE.descriptors)
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    raw_image = pool.FindMessageTypeByName("foxglove.RawImage")
    assert {field.name: (field.number, field.type) for field in raw_image.fields} == {
        "timestamp": (1, 11),
        "width": (2, 7),
        "height": (3, 7),
        "encoding": (4, 9),
        "step": (5, 7),
        "data": (6, 12),
        "frame_id": (7, 9),
    }
    for data in (b"abcdef", bytes(range(256)) * 600):
        image = RawImage(Timestamp(1_000_000_002), 2, 1, "rgb8", 6, data, "wrist")
        message = message_factory.GetMessageClass(raw_image).FromString(RAW_IMAGE.encode(image))
        assert (message.timestamp.seconds, message.timestamp.nanos, message.frame_id) == (1, 2, "wrist")
        assert (message.width, message.height, message.step, message.data) == (2, 1, 6, data)


def test_a_call_comes_back_as_it_was() -> None:
    view = ViewRecord("wrist", "/clients/1/views/wrist", 5, 2, 2, "rgb8", 2**32 - 1)
    frame = FrameRecord(1, 2**64 - 1, 9, "lift", 2**64 - 1, 0, 0, 0, -1, True, False, True, "", (view,))
    call = Call(3, "submit", 9, b"zmq:\0", 1, outcome=Outcome(accepted=True), frame=frame)
    assert CALL.decode(CALL.encode(call)) == call
