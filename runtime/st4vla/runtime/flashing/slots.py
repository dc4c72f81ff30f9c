"""The two slots of a device. A slot holds something only while `slot.json` is there: written last, removed first."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import msgspec

from st4vla.contracts.device_status import SLOT_NAMES, SlotName
from st4vla.contracts.envelope import read_envelope
from st4vla.contracts.errors import FileAlteredError, FileMissingError, FlashError, ManifestError
from st4vla.contracts.files import read_manifest, write_atomically, write_manifest
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle, DeviceFingerprint
from st4vla.contracts.release import RELEASE_FILE, RELEASE_TYPE, Release
from st4vla.runtime.flashing.durable import make_folder, remove_file, remove_folder, sync_folder, sync_tree
from st4vla.runtime.flashing.layout import Layout, SlotLayout
from st4vla.runtime.flashing.offers import Offer
from st4vla.runtime.flashing.state import SLOT_FORMAT, DeviceState, SlotRecord, read_state


def inactive(state: DeviceState) -> SlotName:
    """Return the slot that the next policy goes into."""
    return other_slot(state.active)


def other_slot(name: SlotName | None) -> SlotName:
    """Return the slot that a slot is not."""
    return "b" if name == "a" else "a"


def read_slot(layout: Layout, name: SlotName) -> SlotRecord | None:
    """Return what a slot holds; None when that is nothing, or not finished.

    Raises:
        ManifestError: `slot.json` is damaged, which no power cut does.
    """
    path = layout.slot(name).record
    return read_manifest(path, SlotRecord, SLOT_FORMAT) if path.exists() else None


def require_inactive(layout: Layout, name: SlotName) -> None:
    """Refuse to change a slot that serves, or that a policy on trial may have to give way to.

    Raises:
        FlashError: It does.
    """
    state = read_state(layout.state)
    if name == state.active or (state.trial is not None and name == state.trial.previous):
        msg = f"slot {name} serves, or is what a policy on trial gives way to; only the other slot is written to"
        raise FlashError(msg)


def clear_slot(layout: Layout, name: SlotName) -> None:
    """Empty a slot.

    Raises:
        FlashError: It serves.
        OSError: The file system does not do that.
    """
    require_inactive(layout, name)
    slot = layout.slot(name)
    remove_file(slot.record)
    remove_folder(slot.folder)


def stage_slot(layout: Layout, name: SlotName, offer: Offer) -> None:
    """Put a bundle into a slot, which is emptied first: its files are second names of the objects.

    Raises:
        FlashError: The slot serves.
        FileMissingError: An object is not there.
        ManifestError: A file's name leads out of the bundle.
        OSError: The file system does not do that.
    """
    clear_slot(layout, name)
    slot = layout.slot(name)
    make_folder(slot.bundle)
    for file, entry in offer.manifest.files.items():
        target = slot.bundle / _inside(file)
        make_folder(target.parent)
        try:
            os.link(layout.object(entry.sha256), target)
        except FileNotFoundError:
            msg = f"object {entry.sha256[:12]} of {file} is not on this device; offer the bundle again"
            raise FileMissingError(msg) from None
    for file in (BUNDLE_MANIFEST, RELEASE_FILE):
        write_atomically(slot.bundle / file, (offer.folder / file).read_bytes())
    for folder, _, _ in os.walk(slot.bundle):
        sync_folder(Path(folder))


def finish_slot(layout: Layout, name: SlotName, record: SlotRecord) -> None:
    """Say that a slot is complete; all that is in it is on disk before that.

    Raises:
        OSError: The disk does not take it.
    """
    slot = layout.slot(name)
    sync_tree(slot.engines)
    write_manifest(slot.record, record)


def verify_slot(layout: Layout, name: SlotName, fingerprint: DeviceFingerprint) -> None:
    """Check all of a slot: every byte of its bundle and of its engines, its release, and whose engines they are.

    Raises:
        FileMissingError, FileAlteredError, ManifestError, SignatureError: It is not whole.
        FingerprintMismatchError: Its engines were compiled on another device, or with another library.
    """
    # It knows the engine libraries' files, and takes its time to load.
    from st4vla.runtime.compiling import open_engines  # noqa: PLC0415

    record, slot = read_slot(layout, name), layout.slot(name)
    if record is None:
        msg = f"slot {name} holds no policy"
        raise FileMissingError(msg)
    bundle = Bundle(slot.bundle)
    if bundle.digest != record.bundle_digest:
        msg = f"{slot.bundle / BUNDLE_MANIFEST} is not that of {record.bundle_digest[:12]}, which slot {name} holds"
        raise FileAlteredError(msg)
    _check_release(slot, bundle.digest)
    open_engines(slot.engines, bundle, fingerprint)


def engine_bytes(layout: Layout, name: SlotName) -> int:
    """Return how many bytes of the disk a slot's engines take that no other slot shares."""
    found = [path.stat() for path in layout.slot(name).engines.glob("*")]
    return sum(one.st_size for one in found if one.st_nlink == 1)


def unfinished_slots(layout: Layout) -> list[SlotName]:
    """Return the slots in which something lies that was never finished, or was about to be removed."""
    return [name for name in SLOT_NAMES if layout.slot(name).folder.exists() and not layout.slot(name).record.exists()]


def _check_release(slot: SlotLayout, digest: str) -> None:
    """Check that the release beside a manifest is one, and is this one's; who signed it was checked before."""
    path = slot.bundle / RELEASE_FILE
    try:
        envelope = read_envelope(path.read_bytes(), str(path))
        release = msgspec.json.decode(envelope.body, type=Release)
    except FileNotFoundError:
        msg = f"{path} is missing"
        raise FileMissingError(msg) from None
    except (msgspec.DecodeError, ValueError) as error:
        msg = f"{path} is no release: {error}"
        raise ManifestError(msg) from error
    if envelope.payload_type != RELEASE_TYPE or release.manifest_sha256 != digest:
        msg = f"{path} is not the release of the bundle beside it"
        raise FileAlteredError(msg)


def _inside(file: str) -> PurePosixPath:
    relative = PurePosixPath(file)
    if relative.is_absolute() or ".." in relative.parts or file in (BUNDLE_MANIFEST, RELEASE_FILE):
        msg = f"{BUNDLE_MANIFEST} names {file!r}, which is no place for a file of a bundle"
        raise ManifestError(msg)
    return relative
