"""Decoded pictures in memory: one bound for all data sets of a process, however many a mixture or an ablation opens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.uint8]


class PictureCache:
    """Pictures by key, the least recently used ones dropped when memory is spent.

    Args:
        limit: Bytes; the newest pictures are kept though they are more.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._pictures: OrderedDict[Hashable, Pictures] = OrderedDict()

    def get(self, key: Hashable, decode: Callable[[], Pictures]) -> Pictures:
        """Return the pictures of a key, decoded if they are not there."""
        if key in self._pictures:
            self._pictures.move_to_end(key)
            return self._pictures[key]
        pictures = decode()
        self._pictures[key] = pictures
        self._used += pictures.nbytes
        while self._used > self._limit and len(self._pictures) > 1:
            _, oldest = self._pictures.popitem(last=False)
            self._used -= oldest.nbytes
        return pictures


def file_key(path: Path) -> tuple[str, int]:
    """Return what names a file and tells it from one that is written in its place; a missing one has time 0."""
    try:
        return str(path), path.stat().st_mtime_ns
    except OSError:
        return str(path), 0


#: The process's own.
DECODED = PictureCache(4 * 1024**3)
