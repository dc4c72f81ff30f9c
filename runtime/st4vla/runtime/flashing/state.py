"""A device's state: one small file that is replaced at once, so that a power cut finds the old or the new one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from st4vla.contracts.device_status import Outcome, SlotName
from st4vla.contracts.errors import StorageError
from st4vla.contracts.files import read_manifest, write_manifest

STATE_FORMAT = 1
SLOT_FORMAT = 1


class Committed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest release of one name that this device has committed; an older one is a downgrade."""

    counter: int
    bundle_digest: str


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A switch that is not committed yet.

    Attributes:
        slot: The new policy's.
        previous: The slot to go back to; None on a device's first flash.
        previous_since: When that was switched to, as `DeviceState.active_since`.
        attempt: Name of the flash in the record.
        starts: How often its server was started; counted before it starts, so that a policy that takes the machine down
            with it is counted too.
    """

    slot: SlotName
    previous: SlotName | None
    previous_since: str
    attempt: str
    starts: int = 0


class DeviceState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What serves.

    Attributes:
        format_version: `STATE_FORMAT`.
        active: The slot that serves; None before the first flash.
        active_since: UTC, ISO 8601: when it was switched to.
        trial: Set from the switch until commit or roll-back; its slot is the active one.
        committed: By name of the bundle.
        last: How the last flash ended.
    """

    format_version: int = STATE_FORMAT
    active: SlotName | None = None
    active_since: str = ""
    trial: Trial | None = None
    committed: dict[str, Committed] = {}
    last: Outcome | None = None

    def __post_init__(self) -> None:
        """Refuse a trial of a slot that does not serve."""
        if self.trial is not None and self.trial.slot != self.active:
            msg = f"slot {self.trial.slot!r} is on trial, but {self.active!r} serves"
            raise ValueError(msg)


class SlotRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a slot holds, complete: `slot.json`.

    Attributes:
        format_version: `SLOT_FORMAT`.
        bundle_name: What its bundle is called.
        bundle_digest: SHA-256 of `bundle.json`.
        counter: Of its release.
        key_id: Who signed that.
        installed_at: UTC, ISO 8601.
        attempt: Name of the flash in the record.
        note: Of its release.
    """

    format_version: int
    bundle_name: str
    bundle_digest: str
    counter: int
    key_id: str
    installed_at: str
    attempt: str
    note: str = ""


def read_state(path: Path) -> DeviceState:
    """Return a device's state; that of a new device when there is no file.

    Raises:
        ManifestError: The file is damaged, which no power cut does.
    """
    if not path.exists():
        return DeviceState()
    return read_manifest(path, DeviceState, STATE_FORMAT)


def write_state(path: Path, state: DeviceState) -> None:
    """Put a new state in the place of the old one; it is on disk when this returns.

    Raises:
        StorageError: It cannot be written; the old one is as it was.
    """
    try:
        write_manifest(path, state)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}; nothing has changed"
        raise StorageError(msg) from error
