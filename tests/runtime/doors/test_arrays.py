import io
import pickle
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.errors import MalformedMessageError
from st4vla.runtime.doors.arrays import decode_npy, decode_tagged, encode_npy, encode_tagged

ARRAYS = [
    np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    np.linspace(-1, 1, 7),
    np.zeros((0, 3), np.float32),
    np.array(3.5, np.float16),
    np.array([True, False]),
    np.array([-(2**40), 7]),
    np.arange(6, dtype=">i4").reshape(2, 3),
]


def saved(array: np.ndarray, version: tuple[int, int] | None = None) -> dict[str, Any]:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return {"__ndarray_class__": True, "as_npy": file.getvalue()}


def tagged(**changes: object) -> dict[bytes, object]:
    fields = {b"__ndarray__": True, b"data": bytes(12), b"dtype": "<f4", b"shape": [3]}
    return fields | {key.encode(): value for key, value in changes.items()}


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{list(array.shape)}")
def test_arrays_survive_both_forms(array: np.ndarray) -> None:
    fields = encode_tagged(array)
    assert isinstance(fields, dict)
    for back in (decode_tagged(fields | {b"shape": list(array.shape)}), decode_npy(encode_npy(array))):  # type: ignore[arg-type]
        assert isinstance(back, np.ndarray)
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{list(array.shape)}")
def test_numpy_reads_what_is_written_and_is_read(array: np.ndarray) -> None:
    fields = encode_npy(array)
    assert isinstance(fields, dict)
    assert fields == saved(array)
    np.testing.assert_array_equal(np.load(io.BytesIO(fields["as_npy"]), allow_pickle=False), array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_numpys_format_is_read(version: tuple[int, int]) -> None:
    np.testing.assert_array_equal(decode_npy(saved(ARRAYS[0], version)), ARRAYS[0])


def test_an_array_in_columns_keeps_its_order() -> None:
    array = np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    np.testing.assert_array_equal(decode_npy(saved(array)), array)


def test_text_arrays_become_lists_of_text() -> None:
    texts = np.array(["lift", "the räd cube"])
    fields = {b"__ndarray__": True, b"data": texts.tobytes(), b"dtype": texts.dtype.str, b"shape": [2]}
    assert decode_tagged(fields) == ["lift", "the räd cube"]
    assert decode_npy(saved(texts)) == ["lift", "the räd cube"]
    assert decode_npy(saved(texts.astype(">U20"))) == ["lift", "the räd cube"]


def test_numpy_numbers_become_plain_ones() -> None:
    assert decode_tagged({b"__npgeneric__": True, b"data": 2.5, b"dtype": "<f8"}) == 2.5
    assert encode_npy(np.float32(0.5)) == 0.5
    assert encode_tagged(np.float32(0.5)) == {b"__npgeneric__": True, b"data": 0.5, b"dtype": "<f4"}


def test_other_maps_stay_maps() -> None:
    assert decode_tagged({"prompt": "lift"}) == {"prompt": "lift"}
    assert decode_npy({"endpoint": "ping"}) == {"endpoint": "ping"}


@pytest.mark.parametrize(
    "fields",
    [
        tagged(dtype="|O"),
        tagged(dtype="O8"),
        tagged(dtype="|V12"),
        tagged(dtype="<c8"),
        tagged(dtype="<M8[ns]"),
        tagged(dtype="<f4,<f4"),
        tagged(dtype="<f3"),
        tagged(dtype="<f16"),
        tagged(dtype="|S4"),
        tagged(dtype="<U0", data=b"", shape=[2**30]),
        tagged(dtype=7),
        tagged(dtype=None),
        tagged(shape=[4]),
        tagged(shape=[-3]),
        tagged(shape=[2**40]),
        tagged(shape=[2**31, 2**31, 0], data=b""),
        tagged(shape=[True, 3]),
        tagged(shape=[1.5, 2]),
        tagged(shape=[1] * 9),
        tagged(shape="3"),
        tagged(shape=None),
        tagged(data="twelve bytes"),
        tagged(data=None),
        tagged(dtype="<U3", data=b"\xff" * 12, shape=[1]),
        {b"__npgeneric__": True, b"data": b"x", b"dtype": "<f8"},
        {b"__npgeneric__": True},
    ],
    ids=repr,
)
def test_what_is_no_plain_array_is_refused(fields: dict[Any, Any]) -> None:
    with pytest.raises(MalformedMessageError):
        decode_tagged(fields)


def test_an_array_of_objects_is_refused_and_not_unpickled() -> None:
    file = io.BytesIO()
    np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(MalformedMessageError, match="header"):
        decode_npy({"__ndarray_class__": True, "as_npy": file.getvalue()})
    with pytest.raises(MalformedMessageError):
        decode_npy({"__ndarray_class__": True, "as_npy": pickle.dumps(Bomb())})
    assert not Bomb.gone_off


class Bomb:
    gone_off = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Bomb, "gone_off", True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x09\x00\x10\x00" + b" " * 16,
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        b"\x93NUMPY\x01\x00\x40\x00" + b"(" * 64,
        b"\x93NUMPY\x01\x00\x4a\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }     \n",
        b"PK\x03\x04",
        "text",
        None,
    ],
    ids=repr,
)
def test_what_is_no_array_file_is_refused(data: object) -> None:
    with pytest.raises(MalformedMessageError):
        decode_npy({"__ndarray_class__": True, "as_npy": data})


def test_an_object_of_ours_that_has_no_form_is_a_mistake() -> None:
    for encode in (encode_npy, encode_tagged):
        with pytest.raises(TypeError, match="object"):
            encode(object())
