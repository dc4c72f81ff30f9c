"""Messages to bytes and back; the layout is in `wire_table`.

`decode` believes nothing: every count, offset and length is checked before it is used, and whatever does not fit
raises a `WireError` that says what was expected. Pictures and actions of a decoded message are views into the bytes
that were given, not copies.
"""

from __future__ import annotations

from crc32c import crc32c

from st4vla.contracts import wire_table as table
from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import (
    ChecksumError,
    ForeignMessageError,
    MalformedMessageError,
    TruncatedMessageError,
    WireVersionError,
)
from st4vla.contracts.messages import Message
from st4vla.contracts.wire_decoders import DECODERS, Buffer, Reader
from st4vla.contracts.wire_encoders import ENCODERS
from st4vla.contracts.wire_table import Kind

_CRC_OFFSET = next(offset for field, offset in table.HEADER.offsets if field.name == "crc32c")
_ZERO_CRC = b"\0\0\0\0"


def checksum(message: Buffer) -> int:
    """Return the CRC-32C of a whole message with its checksum field taken as zero."""
    view = memoryview(message)
    crc = crc32c(_ZERO_CRC, crc32c(view[:_CRC_OFFSET]))
    return int(crc32c(view[_CRC_OFFSET + 4 :], crc))


def encode(message: Message, sequence: int | None = None) -> bytearray:
    """Return the one frame that carries a message; a `sent_ns` of 0 is replaced by the clock's reading.

    Args:
        message: What to send.
        sequence: The sender's count of its messages, in the place of the message's own.

    Raises:
        MalformedMessageError: A field holds a value that the wire cannot carry.
    """
    kind, payload_bytes, fill = ENCODERS[type(message)](message)
    frame = bytearray(table.HEADER.size + payload_bytes)
    fill(frame)
    table.HEADER.pack(
        frame,
        0,
        magic=table.MAGIC,
        version=table.WIRE_VERSION,
        kind=kind,
        payload_bytes=payload_bytes,
        sequence=message.sequence if sequence is None else sequence,
        sent_ns=message.sent_ns or monotonic_ns(),
    )
    frame[_CRC_OFFSET : _CRC_OFFSET + 4] = checksum(frame).to_bytes(4, "little")
    return frame


def decode(frame: Buffer, *, has_travelled: bool = True) -> Message:
    """Return the message that a frame carries.

    Args:
        frame: All of it.
        has_travelled: False for one that lies where it was written: its checksum is not looked at.

    Raises:
        ForeignMessageError: Not our magic.
        WireVersionError: Another version of this format.
        TruncatedMessageError: Fewer or more bytes than announced.
        ChecksumError: Bytes were altered on the way.
        MalformedMessageError: A field holds a value that it may not hold.
    """
    if len(frame) < 4 or int.from_bytes(frame[:4], "little") != table.MAGIC:
        msg = f"not a message of this protocol: it begins with {bytes(frame[:4])!r}, expected b'ST4V'"
        raise ForeignMessageError(msg)
    if len(frame) < table.HEADER.size:
        msg = f"message of {len(frame)} bytes; a header alone has {table.HEADER.size}"
        raise TruncatedMessageError(msg)
    header = table.HEADER.unpack(frame, 0)
    if header["version"] != table.WIRE_VERSION:
        msg = f"wire version {header['version']}; this side speaks {table.WIRE_VERSION}: update the older side"
        raise WireVersionError(msg)
    expected = table.HEADER.size + int(header["payload_bytes"])
    if len(frame) != expected:
        msg = f"message of {len(frame)} bytes; its header announces {expected}"
        raise TruncatedMessageError(msg)
    if has_travelled and (actual := checksum(frame)) != header["crc32c"]:
        msg = f"checksum {header['crc32c']:#010x} in the header, {actual:#010x} over the bytes: altered on the way"
        raise ChecksumError(msg)
    decoder = DECODERS.get(int(header["kind"]))
    if decoder is None:
        msg = f"unknown message kind {header['kind']}; known are {', '.join(f'{k.value} {k.name}' for k in Kind)}"
        raise MalformedMessageError(msg)
    return decoder(Reader(frame), int(header["sequence"]), int(header["sent_ns"]))
