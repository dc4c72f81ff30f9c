"""A message that lies in memory which a client shares, and the note that says so.

A client writes a message that holds pictures into a memory of its own and sends only a note. From then on the memory is
the server's: System 1 and System 2 look at the pictures where they lie, nothing is copied, and the client writes there
again when the server has let go of the last of them and taken back the mark at the memory's beginning. A client has a
few such memories, each of which comes with its first note.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import weakref
from functools import partial
from typing import Any

from st4vla.contracts.errors import MalformedMessageError, TruncatedMessageError
from st4vla.runtime.answering import MAX_MESSAGE_BYTES

MAGIC, VERSION = b"ST4M", 1
#: Magic, version, which of the client's memories, and the message's length.
NOTE = struct.Struct("<4sHHQ")
#: The first byte of a memory is the mark; the message begins where a picture may begin.
HEAD_BYTES = 64
#: Memories that a client may share at once: as many as the firmware bridge has.
MAX_MEMORIES = 8


def read_note(packet: bytes) -> tuple[int, int]:
    """Return which memory a note names, and the length of the message in it.

    Raises:
        TruncatedMessageError: It is shorter or longer than a note.
        MalformedMessageError: It is of another version, or names a memory that no client can have.
    """
    if len(packet) != NOTE.size:
        msg = f"a note of {len(packet)} bytes on a message in shared memory; one has {NOTE.size}"
        raise TruncatedMessageError(msg)
    _, version, index, size = NOTE.unpack(packet)
    if version != VERSION or index >= MAX_MEMORIES:
        msg = (
            f"a note of version {version} on memory {index}; the version must be {VERSION}, and the memories of a "
            f"client have numbers below {MAX_MEMORIES}"
        )
        raise MalformedMessageError(msg)
    return index, size


class Memory:
    """A memory that a client shares.

    Args:
        descriptor: Of the memory; closed here.

    Raises:
        MalformedMessageError: A descriptor of something else, or a memory that could shrink while it is read.
    """

    def __init__(self, descriptor: int) -> None:
        try:
            size = os.fstat(descriptor).st_size
            # Only memory can be sealed; reading anything else might wait for somebody.
            if not fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
                msg = "a memory that may shrink while it is read; seal it with F_SEAL_SHRINK"
                raise MalformedMessageError(msg)
            if not HEAD_BYTES < size <= HEAD_BYTES + MAX_MESSAGE_BYTES:
                msg = f"a memory of {size} bytes; {HEAD_BYTES + 1} to {HEAD_BYTES + MAX_MESSAGE_BYTES} are allowed"
                raise MalformedMessageError(msg)
            self._bytes = mmap.mmap(descriptor, size)
        except OSError as error:
            msg = f"what came with a note is no memory that can be shared ({error}); memfd_create(2) makes one"
            raise MalformedMessageError(msg) from error
        finally:
            os.close(descriptor)
        self._room = size - HEAD_BYTES
        self._lent: weakref.ref[Any] | None = None

    def message(self, size: int) -> memoryview:
        """Return the message that lies there; the client gets its memory back when nothing refers to it any more.

        Raises:
            TruncatedMessageError: The memory ends before it.
        """
        if not 0 < size <= self._room:
            self._bytes[0] = 0
            msg = f"a message of {size} bytes in a shared memory that holds {self._room}"
            raise TruncatedMessageError(msg)
        # Arrays refer to this one, and a memory view of the memory itself could not be told from another.
        lent = (ctypes.c_ubyte * size).from_buffer(self._bytes, HEAD_BYTES)
        self._lent = weakref.ref(lent, partial(_give_back, self._bytes))
        return memoryview(lent).toreadonly()


def _give_back(memory: mmap.mmap, lent: object) -> None:
    del lent
    memory[0] = 0
