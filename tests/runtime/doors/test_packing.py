import sys
import tracemalloc

import msgpack
import pytest

from st4vla.contracts.errors import MalformedMessageError, MissingExtraError
from st4vla.runtime.doors.arrays import decode_tagged, encode_tagged
from st4vla.runtime.doors.packing import MAX_CONTAINERS, MAX_ITEMS, Packing


@pytest.fixture
def packing() -> Packing:
    return Packing(decode_tagged, encode_tagged)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x02",
        b"\x81\x01\x02",
        b"\xa1\xff",
        b"\x92\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\xc7\x04\xff\x00\x00\x00\x01",
        b"\xd4\x05\x00",
        msgpack.packb(msgpack.Timestamp(1)),
        msgpack.packb({("a", "b"): 1}),
        msgpack.packb({b"__ndarray__": True}),
        msgpack.packb([0] * (MAX_ITEMS + 1)),
        msgpack.packb({str(index): 0 for index in range(MAX_ITEMS + 1)}),
        b"\x93" + 3 * (b"\xdc\x01\x00" + b"\x80" * 256 + b"\x90" * 256)[:800],
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_not_plain_msgpack_is_refused(packing: Packing, data: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        packing.unpack(data)


def test_many_small_containers_do_not_become_much_memory(packing: Packing) -> None:
    inner = b"\xdc\x01\x00" + b"\x80" * MAX_ITEMS
    bomb = b"\xdc\x01\x00" + (b"\xdc\x01\x00" + inner * MAX_ITEMS) * MAX_ITEMS
    assert len(bomb) > 16 * 2**20
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessageError, match=str(MAX_CONTAINERS)):
            packing.unpack(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_values_come_back(packing: Packing) -> None:
    value = {"a": [1, 2.5, None, True, "text"], b"b": b"bytes"}
    assert packing.unpack(packing.pack(value)) == value
    assert packing.unpack(memoryview(packing.pack(value))) == value


def test_without_msgpack_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(MissingExtraError, match=r"st4vla\[doors\]"):
        Packing(decode_tagged, encode_tagged)
