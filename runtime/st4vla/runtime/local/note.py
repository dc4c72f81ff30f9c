"""A frame that lies in memory which a client shares, and the note that says where.

A client that has a frame of some size writes it into a memory of its own and sends only this note. The memory has
slots, which the client fills in turns, without waiting for anybody; each has the count of its frame before it. The
server copies the frame out and then looks at the count again: a frame that was overwritten meanwhile is dropped, since
its successor is on its way. The copy is the same frame that a network would have brought, checksum and all.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass

from st4vla.contracts.errors import MalformedMessageError, TruncatedMessageError

MAGIC, VERSION = b"ST4M", 1
#: Magic, version, two bytes of zero, the frame's count, its slot's first byte, and the frame's length.
LAYOUT = struct.Struct("<4sH2xQQQ")
#: The count of its frame, at the beginning of a slot; the frame itself follows where a picture may begin.
COUNT = struct.Struct("<Q")
SLOT_HEAD_BYTES = 64


@dataclass(frozen=True)
class Note:
    """Where a frame lies.

    Attributes:
        count: Of the frames that this client has put into its memory.
        slot: First byte of its slot.
        size: Bytes of the frame.
    """

    count: int
    slot: int
    size: int


def read_note(packet: bytes, max_bytes: int) -> Note:
    """Return the note that a packet is.

    Raises:
        MalformedMessageError: It is of another version, or names what no frame can be.
        TruncatedMessageError: It is shorter or longer than a note.
    """
    if len(packet) != LAYOUT.size:
        msg = f"a note of {len(packet)} bytes on a frame in shared memory; one has {LAYOUT.size}"
        raise TruncatedMessageError(msg)
    _, version, count, slot, size = LAYOUT.unpack(packet)
    if version != VERSION or not 0 < size <= max_bytes or slot >= 2**62:
        msg = (
            f"a note of version {version} on a frame of {size} bytes in the slot at byte {slot} of shared memory; the "
            f"version must be {VERSION}, and a frame has 1 to {max_bytes} bytes"
        )
        raise MalformedMessageError(msg)
    return Note(count, slot, size)


class Memory:
    """A memory that a client shares. It is read, never mapped: one that shrinks is a short read, and not a fault.

    Args:
        descriptor: Of the memory; closed with this object.

    Raises:
        MalformedMessageError: A descriptor of something else, whose reading might wait for somebody.
    """

    def __init__(self, descriptor: int) -> None:
        try:
            # Only files in memory can be sealed, whether or not this one is.
            fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        except OSError as error:
            os.close(descriptor)
            msg = "what came with a note is no memory; share one that memfd_create(2) has made"
            raise MalformedMessageError(msg) from error
        self._descriptor = descriptor

    def copy(self, note: Note) -> bytes | None:
        """Return the frame that a note names, or None if it has been overwritten.

        Raises:
            TruncatedMessageError: The memory ends before it.
        """
        frame = os.pread(self._descriptor, note.size, note.slot + SLOT_HEAD_BYTES)
        # After the frame: whoever overwrites it changes the count first.
        count = os.pread(self._descriptor, COUNT.size, note.slot)
        if len(frame) != note.size or len(count) != COUNT.size:
            msg = f"a frame of {note.size} bytes in the slot at byte {note.slot} ends beyond its shared memory"
            raise TruncatedMessageError(msg)
        return frame if COUNT.unpack(count)[0] == note.count else None

    def close(self) -> None:
        """Let it go."""
        os.close(self._descriptor)
