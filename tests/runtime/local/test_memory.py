import gc
import mmap
import os
import socket
from collections.abc import Callable

import numpy as np
import pytest

from st4vla.contracts.errors import MalformedMessageError, TruncatedMessageError
from st4vla.runtime.answering import MAX_MESSAGE_BYTES
from st4vla.runtime.local.memory import HEAD_BYTES, MAGIC, NOTE, Memory, read_note

Shared = tuple[Memory, mmap.mmap]


@pytest.fixture
def shared(memory_of: Callable[..., int]) -> Shared:
    """A memory of 4096 bytes, as we and as a client has it."""
    descriptor = memory_of(4096)
    theirs = mmap.mmap(descriptor, 4096)
    return Memory(descriptor), theirs


def test_a_message_is_looked_at_where_it_lies(shared: Shared) -> None:
    ours, theirs = shared
    theirs[HEAD_BYTES : HEAD_BYTES + 3] = b"abc"
    message = ours.message(3)
    assert bytes(message) == b"abc"
    assert message.readonly
    theirs[HEAD_BYTES] = ord("x")
    assert bytes(message) == b"xbc"


def test_a_memory_is_given_back_when_nothing_refers_to_its_message_any_more(shared: Shared) -> None:
    ours, theirs = shared
    theirs[0] = 1
    pixels = np.frombuffer(ours.message(100), np.uint8, 50, 10)[5:20]
    assert theirs[0] == 1
    row = pixels[3:4]
    del pixels
    assert theirs[0] == 1
    del row
    assert theirs[0] == 0


def test_a_message_outlives_the_memory_that_it_came_with(shared: Shared) -> None:
    ours, theirs = shared
    theirs[HEAD_BYTES : HEAD_BYTES + 3] = b"abc"
    message = ours.message(3)
    del ours
    gc.collect()
    assert bytes(message) == b"abc"


def test_a_message_beyond_the_end_is_refused_and_the_memory_given_back(shared: Shared) -> None:
    ours, theirs = shared
    for size in (0, 4096 - HEAD_BYTES + 1, 2**63):
        theirs[0] = 1
        with pytest.raises(TruncatedMessageError, match=f"{size} bytes in a shared memory that holds 4032"):
            ours.message(size)
        assert theirs[0] == 0
    assert len(ours.message(4096 - HEAD_BYTES)) == 4032


def test_what_is_no_memory_or_could_shrink_is_refused(memory_of: Callable[..., int]) -> None:
    ends = os.pipe()
    os.close(ends[1])
    unsealed = memory_of(4096, seals=0)
    huge = memory_of(HEAD_BYTES + MAX_MESSAGE_BYTES + 1)
    for descriptor, said in (
        (ends[0], "no memory that can be shared"),
        (socket.socket().detach(), "no memory that can be shared"),
        (unsealed, "may shrink"),
        (memory_of(HEAD_BYTES), "64 bytes"),
        (huge, "are allowed"),
    ):
        with pytest.raises(MalformedMessageError, match=said):
            Memory(descriptor)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_note_is_believed_only_when_it_is_one() -> None:
    assert read_note(NOTE.pack(MAGIC, 1, 7, 300)) == (7, 300)
    with pytest.raises(TruncatedMessageError, match="of 15 bytes"):
        read_note(NOTE.pack(MAGIC, 1, 7, 300)[:-1])
    with pytest.raises(MalformedMessageError, match="version 2"):
        read_note(NOTE.pack(MAGIC, 2, 7, 300))
    with pytest.raises(MalformedMessageError, match="memory 8"):
        read_note(NOTE.pack(MAGIC, 1, 8, 300))
