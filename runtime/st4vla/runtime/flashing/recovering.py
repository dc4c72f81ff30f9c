"""What a start makes of whatever the last end left: half-made things go, complete ones stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from st4vla.contracts.device_status import SLOT_NAMES
from st4vla.runtime.flashing.durable import remove_file, remove_folder
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.locking import locked
from st4vla.runtime.flashing.offers import Offers
from st4vla.runtime.flashing.slots import clear_slot, unfinished_slots
from st4vla.runtime.flashing.state import read_state
from st4vla.runtime.flashing.store import LOCK_S, Store


def recover(layout: Layout) -> list[str]:
    """Clean up behind a process that was killed; nothing that serves is touched. Call it while nothing is flashed.

    Returns:
        A sentence for each thing that was cleaned up.

    Raises:
        ManifestError: `state.json` is damaged, which no power cut does.
        OSError: The file system does not do that.
    """
    said = []
    active = read_state(layout.state).active
    for name in unfinished_slots(layout):
        if name != active:
            clear_slot(layout, name)
            said.append(f"slot {name} was not finished and is empty now")
    # An agent may be writing one of these now: it holds the lock meanwhile.
    with locked(layout.lock, "changes this device's files", wait_s=LOCK_S):
        for path in _temporary(layout):
            if path.is_dir():
                remove_folder(path)
            else:
                remove_file(path)
            said.append(f"{path} was half written and is gone")
    freed = Store(layout).collect(Offers(layout).objects)
    if freed:
        said.append(f"objects that nobody needs are gone: {freed} bytes")
    return said


def _temporary(layout: Layout) -> Iterator[Path]:
    """Yield files and folders that were to take another's place and did not come to that."""
    folders = [layout.root, layout.offer("0").parent]
    for name in SLOT_NAMES:
        slot = layout.slot(name)
        folders += [slot.folder, slot.bundle]
    for folder in folders:
        yield from folder.glob(".*")
