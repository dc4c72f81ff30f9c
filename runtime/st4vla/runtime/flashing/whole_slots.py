"""What a supervisor may serve: slots that are whole as far as a look can tell; their server checks every byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from st4vla.contracts.device_status import SlotName
from st4vla.contracts.envelope import read_envelope
from st4vla.contracts.errors import FlashError, ManifestError, SignatureError
from st4vla.contracts.manifests import BUNDLE_MANIFEST
from st4vla.contracts.release import RELEASE_FILE, LatencyBudget, Release
from st4vla.runtime.flashing.layout import Layout, SlotLayout
from st4vla.runtime.flashing.slots import read_slot
from st4vla.runtime.flashing.state import DeviceState, SlotRecord
from st4vla.runtime.flashing.transitions import has_served


def whole_record(layout: Layout, slot: SlotName) -> SlotRecord | None:
    """Return what a slot holds; None when that is nothing, or when its manifest is not the one that it should be."""
    try:
        record = read_slot(layout, slot)
        if record is None or _digest(layout.slot(slot).bundle / BUNDLE_MANIFEST) != record.bundle_digest:
            return None
    except (ManifestError, OSError):
        return None
    return record


def require_served(layout: Layout, slot: SlotName, state: DeviceState) -> SlotRecord:
    """Return what a slot holds, if this device may go back to it.

    Raises:
        FlashError: It holds nothing, or what was never committed here.
    """
    record = whole_record(layout, slot)
    if record is None:
        msg = f"slot {slot} holds no complete policy to go back to; flash one"
        raise FlashError(msg)
    if not has_served(state, record):
        msg = f"{record.bundle_name!r} in slot {slot} was never committed on this device; flash it again to try it"
        raise FlashError(msg)
    return record


def budget_of(slot: SlotLayout) -> LatencyBudget:
    """Return what the release in a slot allows; nothing in particular where it cannot be read."""
    path = slot.bundle / RELEASE_FILE
    try:
        return msgspec.json.decode(read_envelope(path.read_bytes(), str(path)).body, type=Release).budget
    except (OSError, SignatureError, ValueError):
        return LatencyBudget()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
