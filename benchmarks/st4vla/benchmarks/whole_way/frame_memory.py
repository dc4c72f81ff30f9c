"""Write pictures where the firmware bridge's camera loop takes them from.

The layout is that of `firmware_bridge/include/st4vla/frame_memory.h`.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from crc32c import crc32c
from typing_extensions import Self

from st4vla.contracts.messages import MAX_IMAGE_SIDE, ImageEncoding

MAGIC, VERSION = b"ST4F", 1
SLOTS = 3
ALIGNMENT = 64
#: Version, slots, bytes of a slot; then the index of the newest.
HEADER = struct.Struct("<HHI")
HEADER_AT, NEWEST_AT = 4, 12
HEAD_BYTES = 64
#: Count, capture time, bytes, checksum, height, width, encoding.
SLOT = struct.Struct("<QqIIHHHH32x")


class FrameMemory:
    """One camera's newest pictures in a file that another program maps; at most one writer.

    Args:
        path: The file, best in ``/dev/shm``; it is made anew and removed at the end.
        height: Pixels of the largest picture.
        width: Pixels.

    Raises:
        ValueError: A size that the wire cannot carry.
    """

    def __init__(self, path: Path, height: int, width: int) -> None:
        if not (1 <= height <= MAX_IMAGE_SIDE and 1 <= width <= MAX_IMAGE_SIDE):
            msg = f"pictures of {height} x {width} pixels; each side may have 1 to {MAX_IMAGE_SIDE}"
            raise ValueError(msg)
        self.path = path
        self._room = -(-height * width * 3 // ALIGNMENT) * ALIGNMENT
        self._count = 0
        path.unlink(missing_ok=True)
        size = HEAD_BYTES + SLOTS * (SLOT.size + self._room)
        with path.open("xb+") as file:
            file.truncate(size)
            self._memory = mmap.mmap(file.fileno(), size)
        HEADER.pack_into(self._memory, HEADER_AT, VERSION, SLOTS, self._room)
        self._memory[: len(MAGIC)] = MAGIC

    def write(self, pixels: npt.NDArray[np.uint8], capture_ns: int) -> None:
        """Put an RGB picture uint8 [H, W, 3] in the place of the oldest.

        Raises:
            ValueError: Another type, or more pixels than there is room for.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.nbytes > self._room:
            msg = f"a picture is uint8 [H, W, 3] of at most {self._room} bytes; got {pixels.dtype} {pixels.shape}"
            raise ValueError(msg)
        self._count += 1
        index = self._count % SLOTS
        height, width = pixels.shape[:2]
        start = HEAD_BYTES + index * (SLOT.size + self._room)
        fields = (self._count, capture_ns, pixels.nbytes)
        rest = (height, width, ImageEncoding.RGB8.value, 0)
        picture = np.ascontiguousarray(pixels).reshape(-1).data
        checksum = crc32c(picture, crc32c(SLOT.pack(*fields, 0, *rest)))
        self._memory[start + SLOT.size : start + SLOT.size + pixels.nbytes] = picture
        SLOT.pack_into(self._memory, start, *fields, checksum, *rest)
        self._memory[NEWEST_AT : NEWEST_AT + 4] = index.to_bytes(4, "little")

    def close(self) -> None:
        """Remove the file; who has mapped it keeps its last pictures."""
        self._memory.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
