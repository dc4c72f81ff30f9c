"""Memory that is freed and needed again at once."""

from __future__ import annotations

import ctypes

#: Parameters of mallopt(3): blocks from what size on are mapped one by one, and how much free memory is kept.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
_KEPT_BYTES = 64 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Make this process keep up to 64 MiB that it frees, and say whether that was possible.

    An observation with two raw views has 300 kB. The C library maps such a block anew each time and gives it back, and
    the kernel fills it with zeros page by page: as much work as all that is done with it. For processes of our own, not
    for those of others that use our client.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        # Another C library than glibc.
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES // 2) and mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))
