"""Pillow's antialiased bicubic resize, rows first: by Pillow, or with the same bits by the firmware bridge's library.

The library takes an eighth of the time. It is found where the checkout builds it (`make ctest`) or where
``cmake --install`` and the system's loader have it; without it Pillow does the work.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from st4vla.contracts.errors import ObservationError
from st4vla.runtime.native_library import candidates

Pixels = npt.NDArray[np.uint8]

#: `ST4VLA_RESIZE_ABI_VERSION` and `ST4VLA_RESIZE_MAX_SIDE` of `firmware_bridge/include/st4vla/resize.h`.
ABI_VERSION = 1
MAX_SIDE = 16384
LIBRARIES = candidates("st4vla_resize", ABI_VERSION)
#: Sizes that a thread keeps ready; weights and scratch of 640 x 480 pixels take half a megabyte.
KEPT_SIZES = 8


class CompiledResize:
    """The firmware bridge's resize. Any number of threads may call it; each has its own weights and scratch.

    Args:
        library: As `ctypes` loaded it; of this ABI version.
    """

    def __init__(self, library: Any) -> None:
        pointer, stride = ctypes.c_void_p, ctypes.c_ssize_t
        library.st4vla_resizer_create.argtypes = [*[ctypes.c_int] * 4, ctypes.POINTER(ctypes.c_void_p)]
        library.st4vla_resizer_run.argtypes = [pointer, pointer, stride, pointer, stride]
        library.st4vla_resizer_destroy.argtypes = [pointer]
        library.st4vla_resizer_destroy.restype = None
        library.st4vla_resize_message.restype = ctypes.c_char_p
        self._library = library
        self._thread = threading.local()

    def __call__(self, pixels: Pixels, height: int, width: int) -> Pixels:
        """Return RGB uint8 [H, W, 3] as [height, width, 3]; sides are 1 to `MAX_SIDE`."""
        if pixels.strides[1:] != (3, 1):
            pixels = np.ascontiguousarray(pixels)
        out = np.empty((height, width, 3), np.uint8)
        resizer = self._resizer(pixels.shape[0], pixels.shape[1], height, width)
        self._check(
            self._library.st4vla_resizer_run(
                resizer.pointer, pixels.ctypes.data, pixels.strides[0], out.ctypes.data, out.strides[0]
            )
        )
        return out

    def _resizer(self, *sizes: int) -> _Resizer:
        if not hasattr(self._thread, "resizer"):
            self._thread.resizer = lru_cache(KEPT_SIZES)(self._make)
        resizer: _Resizer = self._thread.resizer(*sizes)
        return resizer

    def _make(self, *sizes: int) -> _Resizer:
        pointer = ctypes.c_void_p()
        self._check(self._library.st4vla_resizer_create(*sizes, ctypes.byref(pointer)))
        return _Resizer(self._library, pointer)

    def _check(self, status: int) -> None:
        if status:
            said = self._library.st4vla_resize_message(status).decode()
            msg = f"the picture cannot be resized: {said}"
            raise ObservationError(msg)


class _Resizer:
    """What the library made for one size; freed with this object."""

    def __init__(self, library: Any, pointer: ctypes.c_void_p) -> None:
        self.pointer = pointer
        weakref.finalize(self, library.st4vla_resizer_destroy, pointer)


def resize_with_pillow(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return RGB uint8 [H, W, 3] as [height, width, 3].

    One axis a call: in a single one Pillow 13 takes the columns first where a picture shrinks more in height, and older
    ones do not, which rounds differently.
    """
    rows = Image.fromarray(pixels).resize((width, pixels.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(rows.resize((width, height), Image.Resampling.BICUBIC))


@cache
def compiled_resize() -> CompiledResize | None:
    """Return the library's resize, or None where it is not installed or of another ABI version."""
    for name in LIBRARIES:
        with suppress(OSError):
            library = ctypes.CDLL(name)
            if library.st4vla_resize_abi_version() == ABI_VERSION:
                return CompiledResize(library)
    return None


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Squeeze or stretch a whole picture to a size.

    Args:
        pixels: RGB uint8 [H, W, 3], in any memory order.
        height: Rows wanted, 1 to `MAX_SIDE`.
        width: Columns wanted, 1 to `MAX_SIDE`.

    Returns:
        uint8 [height, width, 3]; the same array when it has that size.

    Raises:
        ObservationError: Not such a picture, or a side that is not allowed.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        msg = f"a picture must be RGB, uint8 [H, W, 3]; this one is {pixels.dtype} {list(pixels.shape)}: convert it"
        raise ObservationError(msg)
    sides = (*pixels.shape[:2], height, width)
    if not all(1 <= side <= MAX_SIDE for side in sides):
        msg = "a picture of {} x {} pixels cannot become {} x {}; sides are 1 to {}".format(*sides, MAX_SIDE)
        raise ObservationError(msg)
    if pixels.shape[:2] == (height, width):
        return pixels
    return (compiled_resize() or resize_with_pillow)(pixels, height, width)
