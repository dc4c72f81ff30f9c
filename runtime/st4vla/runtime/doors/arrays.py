"""Arrays inside msgpack, in the two forms that others' clients use.

openpi and starVLA write a map of dtype, shape and bytes, with keys that are bytes. GR00T writes a file of NumPy's own
format (NEP 1) into a map. Both can name Python objects, which NumPy would unpickle; here only numbers and text pass,
and only when the bytes are exactly as many as dtype and shape promise, before anything is allocated.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import MalformedMessageError

MAX_DIMENSIONS = 8
_DTYPE = re.compile(r"[<>|=]?([biufU])(\d{1,5})")
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
_UTF32_BYTES = 4

_NPY_MAGIC = b"\x93NUMPY"
#: Version, then how many bytes hold the header's length.
_NPY_LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}
_NPY_ALIGNMENT = 64
_NPY_MAX_HEADER_BYTES = 512
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[biufU]\d{1,5})', 'fortran_order': (True|False), 'shape': \(([\d, ]{0,120})\), \}[ ]*\n"
)

Array = npt.NDArray[Any]


def decode_tagged(fields: dict[Any, Any]) -> object:
    """Return the array or number that a map of openpi's form stands for; other maps as they are.

    Text arrays become lists of text.

    Raises:
        MalformedMessageError: A dtype, shape or number of bytes that is not taken.
    """
    if b"__ndarray__" in fields:
        return _array(fields.get(b"data"), fields.get(b"dtype"), fields.get(b"shape"))
    if b"__npgeneric__" in fields:
        value = fields.get(b"data")
        if not isinstance(value, bool | int | float | str):
            msg = f"a NumPy scalar of {type(value).__name__}; numbers and text are taken"
            raise MalformedMessageError(msg)
        return value
    return fields


def encode_tagged(value: object) -> object:
    """Return an array or NumPy number in openpi's form."""
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    msg = f"cannot pack {type(value).__name__}"
    raise TypeError(msg)


def decode_npy(fields: dict[Any, Any]) -> object:
    """Return the array that a map of GR00T's form holds; other maps as they are. Text arrays become lists of text.

    Raises:
        MalformedMessageError: Bytes that are not such a file, or an array that is not taken.
    """
    if "__ndarray_class__" not in fields:
        return fields
    data = fields.get("as_npy")
    if not isinstance(data, bytes) or not data.startswith(_NPY_MAGIC):
        msg = "an array without NumPy's file format in 'as_npy'"
        raise MalformedMessageError(msg)
    length_bytes = _NPY_LENGTH_BYTES.get(data[6:8], 0)
    start = 8 + length_bytes
    header_bytes = int.from_bytes(data[8:start], "little")
    header = data[start : start + header_bytes]
    match = _NPY_HEADER.fullmatch(header) if length_bytes and header_bytes <= _NPY_MAX_HEADER_BYTES else None
    if match is None:
        msg = f"an array whose header is not that of plain numbers or text: {bytes(header[:80])!r}"
        raise MalformedMessageError(msg)
    dtype, fortran, shape = match[1].decode(), match[2] == b"True", match[3].decode()
    sizes = [int(size) for size in shape.replace(" ", "").split(",") if size]
    return _array(memoryview(data)[start + header_bytes :], dtype, sizes, "F" if fortran else "C")


def encode_npy(value: object) -> object:
    """Return an array in GR00T's form, and a NumPy number as a plain one."""
    if isinstance(value, np.ndarray):
        return {"__ndarray_class__": True, "as_npy": _npy_header(value.dtype.str, value.shape) + value.tobytes()}
    if isinstance(value, np.generic):
        return value.item()
    msg = f"cannot pack {type(value).__name__}"
    raise TypeError(msg)


@functools.lru_cache(maxsize=64)
def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    before = len(_NPY_MAGIC) + 4
    padded = header + b" " * (-(before + len(header) + 1) % _NPY_ALIGNMENT) + b"\n"
    return _NPY_MAGIC + b"\x01\x00" + len(padded).to_bytes(2, "little") + padded


def _array(data: object, dtype: object, shape: object, order: str = "C") -> Array | list[str]:
    match = _DTYPE.fullmatch(dtype) if isinstance(dtype, str) else None
    if match is None:
        msg = f"an array of dtype {_shown(dtype)}; booleans, integers, floats and text are taken"
        raise MalformedMessageError(msg)
    kind, size = match[1], int(match[2])
    item_bytes = size * _UTF32_BYTES if kind == "U" else size
    if item_bytes == 0 or (kind != "U" and size not in _SIZES[kind]):
        msg = f"an array of dtype {_shown(dtype)}, which has no such size"
        raise MalformedMessageError(msg)
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_DIMENSIONS
        or not all(type(side) is int and 0 <= side < 2**31 for side in shape)
    ):
        msg = f"an array of shape {_shown(shape)}; at most {MAX_DIMENSIONS} sizes are taken"
        raise MalformedMessageError(msg)
    if not isinstance(data, bytes | memoryview) or len(data) != math.prod(shape) * item_bytes:
        have = len(data) if isinstance(data, bytes | memoryview) else "no"
        msg = f"an array of shape {shape} and dtype {dtype!r} with {have} bytes"
        raise MalformedMessageError(msg)
    if kind == "U":
        return _texts(bytes(data), item_bytes, big_endian=str(dtype).startswith(">"))
    array: Array = np.frombuffer(data, np.dtype(str(dtype))) if len(data) else np.empty(0, np.dtype(str(dtype)))
    return array.reshape(shape, order="F" if order == "F" else "C")


def _texts(data: bytes, item_bytes: int, *, big_endian: bool) -> list[str]:
    encoding = "utf-32-be" if big_endian else "utf-32-le"
    pieces = (data[start : start + item_bytes] for start in range(0, len(data), item_bytes))
    try:
        return [piece.decode(encoding).rstrip("\0") for piece in pieces]
    except UnicodeDecodeError as error:
        msg = "an array of text that is not Unicode"
        raise MalformedMessageError(msg) from error


def _shown(value: object) -> str:
    return repr(value)[:60]
