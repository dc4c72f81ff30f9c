"""The C decoders against the Python ones: the same bytes have the same verdict, whoever reads them."""

import ctypes
import random
from collections import Counter
from pathlib import Path

import pytest

from st4vla.contracts.errors import (
    ChecksumError,
    ForeignMessageError,
    MalformedMessageError,
    TruncatedMessageError,
    WireError,
    WireVersionError,
)
from st4vla.contracts.messages import Observation, Welcome
from st4vla.contracts.wire import checksum, decode

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "wire"
HEADER_BYTES, CRC, LENGTH = 32, slice(12, 16), slice(8, 12)
OK, TOO_SMALL = 0, 4
VERDICTS: dict[type[WireError], int] = {
    ForeignMessageError: 20,
    WireVersionError: 21,
    TruncatedMessageError: 22,
    ChecksumError: 23,
    MalformedMessageError: 24,
}
#: The C name of a message's decoder, and more bytes than what it writes.
KINDS = {
    "observation": "observation",
    "action_chunk": "chunk",
    "welcome": "welcome",
    "plan": "plan",
    "error": "error",
}
ROOM = 1 << 16
#: Values that sit at the edge of what a field may hold.
EDGES = (0x00, 0x01, 0x02, 0x03, 0x07, 0x08, 0x09, 0x10, 0x11, 0x20, 0x7F, 0x80, 0xC0, 0xED, 0xF4, 0xFE, 0xFF)


def python_verdict(frame: bytes) -> int:
    try:
        message = decode(frame)
    except WireError as error:
        return VERDICTS[type(error)]
    names = [view.name for view in message.views] if isinstance(message, Observation | Welcome) else []
    names += [message.bundle_name] if isinstance(message, Welcome) else []
    # A zero inside of a name ends it in C: there it is refused, here it is a name that no bundle has.
    return VERDICTS[MalformedMessageError] if any("\0" in name for name in names) else OK


def sealed(frame: bytearray) -> bytes:
    """Make length and checksum right, so that what was changed is looked at."""
    frame[LENGTH] = (len(frame) - HEADER_BYTES).to_bytes(4, "little")
    frame[CRC] = checksum(frame).to_bytes(4, "little")
    return bytes(frame)


def mutated(golden: bytes, rng: random.Random) -> bytes:
    frame = bytearray(golden)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(HEADER_BYTES, len(frame))
        width = rng.choice((1, 1, 2, 4))
        for offset in range(at, min(at + width, len(frame))):
            frame[offset] = rng.choice(EDGES) if rng.random() < 0.8 else rng.randrange(256)
    if rng.random() < 0.2:
        del frame[rng.randrange(HEADER_BYTES, len(frame) + 1) :]
    if rng.random() < 0.1:
        frame += bytes(rng.randrange(1, 9))
    return sealed(frame) if rng.random() < 0.95 else bytes(frame)


@pytest.mark.parametrize("name", KINDS)
def test_mutated_messages_have_the_same_verdict_in_c_and_in_python(library: Path, name: str) -> None:
    c_decode = getattr(ctypes.CDLL(str(library)), f"st4vla_decode_{KINDS[name]}")
    c_decode.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p)
    room = ctypes.create_string_buffer(ROOM)
    golden = (GOLDEN / f"{name}.bin").read_bytes()
    rng = random.Random(name)
    seen: Counter[int] = Counter()
    for _ in range(4000):
        frame = mutated(golden, rng)
        verdict = c_decode(frame, len(frame), room)
        expected = python_verdict(frame)
        assert verdict == expected, (frame.hex(), verdict, expected)
        seen[verdict] += 1
    # Both sides of the line were visited, or this says nothing.
    assert seen[OK] > 40
    assert seen[VERDICTS[MalformedMessageError]] > 40
    assert seen[VERDICTS[ChecksumError]] > 40
