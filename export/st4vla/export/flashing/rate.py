"""A bound on bytes a second, shared by all devices."""

from __future__ import annotations

import asyncio

from st4vla.contracts.flash_messages import DATA_BYTES

#: How much of a second's bytes goes out at once: enough that pipes do not run dry, too little to be felt by others.
BLOCK_S = 0.05
LEAST_BLOCK_BYTES = 4096


class RateLimit:
    """A token bucket without a depth: each taker waits for its turn, in the order in which they ask."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_s = 0.0

    @property
    def block_bytes(self) -> int:
        """How much should be taken at once."""
        if self._bytes_per_s is None:
            return DATA_BYTES
        return max(LEAST_BLOCK_BYTES, min(DATA_BYTES, int(self._bytes_per_s * BLOCK_S)))

    async def take(self, size: int) -> None:
        """Wait until this many bytes may go."""
        if self._bytes_per_s is None:
            # Others have a turn, too, where the pipe takes all at once.
            await asyncio.sleep(0)
            return
        now_s = asyncio.get_running_loop().time()
        start_s = max(now_s, self._free_s)
        self._free_s = start_s + size / self._bytes_per_s
        await asyncio.sleep(start_s - now_s)
