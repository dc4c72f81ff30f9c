"""Whether this machine has the memory for two policies at once."""

from __future__ import annotations

from pathlib import Path

from st4vla.runtime.flashing.layout import SlotLayout
from st4vla.runtime.flashing.sensors import available_memory

#: A loaded engine takes more than its file: buffers, and a part of it in another layout.
LOADED_FACTOR = 2.0
MIB = 1 << 20


def needed_bytes(slot: SlotLayout) -> int:
    """Return about how much memory the policy of a slot takes, by the size of its engines."""
    return round(LOADED_FACTOR * sum(path.stat().st_size for path in slot.engines.iterdir() if path.is_file()))


def why_no_room(slot: SlotLayout, resident_bytes: int, reserve_bytes: int, system_root: Path) -> str | None:
    """Return why the policy of a slot cannot be loaded beside the one that serves, or None.

    Args:
        slot: What is to be loaded.
        resident_bytes: What the server takes that is running; the next one is taken to need as much at least.
        reserve_bytes: What must stay free.
        system_root: Where the machine's file system begins.
    """
    available = available_memory(system_root)
    needed = max(needed_bytes(slot), resident_bytes) + reserve_bytes
    if available is None or available >= needed:
        return None
    return f"{available // MIB} MiB of memory are available, and a second policy needs about {needed // MIB} MiB"
