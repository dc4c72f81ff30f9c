"""Where a device keeps what.

::

    ROOT/
    ├── device.json          configuration, written by people (`DeviceConfig`)
    ├── state.json           which slot serves, what is on trial, counters: one file, so one instant (`DeviceState`)
    ├── trust.json           the list of trusted keys, in its envelope
    ├── record.jsonl         what happened and why, a line each
    ├── lock                 held by whoever changes objects, offers or the list of keys, for the moment that takes
    ├── installing.lock      held by whoever installs, for as long as that takes
    ├── supervisor.lock      held by the supervisor, for as long as it runs
    ├── servers              its servers' process numbers
    ├── control.sock         where the supervisor listens
    ├── objects/ab/ab12...   files of bundles by their SHA-256, whole and verified, never written to again
    ├── cache/               what engine libraries keep from one build to the next
    ├── incoming/ab12....part  objects on their way
    ├── offers/DIGEST/       bundle.json and release.json of bundles whose objects arrive
    └── slots/a, slots/b
        ├── bundle/          bundle.json, release.json, and hard links to objects
        ├── engines/         compiled here
        └── slot.json        written last and removed first: a slot without it holds nothing (`SlotRecord`)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from st4vla.contracts.device_status import SlotName

DEFAULT_ROOT = Path("/var/lib/st4vla")


def default_root() -> Path:
    """Return the device's folder: ``ST4VLA_ROOT``, or `DEFAULT_ROOT`."""
    return Path(os.environ.get("ST4VLA_ROOT") or DEFAULT_ROOT)


@dataclass(frozen=True)
class SlotLayout:
    """The files of one slot."""

    folder: Path

    @property
    def bundle(self) -> Path:
        """Folder of the bundle."""
        return self.folder / "bundle"

    @property
    def engines(self) -> Path:
        """Folder of its engines."""
        return self.folder / "engines"

    @property
    def record(self) -> Path:
        """What the slot holds."""
        return self.folder / "slot.json"


@dataclass(frozen=True)
class Layout:
    """The files of a device below its root."""

    root: Path

    @property
    def config(self) -> Path:
        """Configuration."""
        return self.root / "device.json"

    @property
    def state(self) -> Path:
        """What serves, what is on trial, and counters."""
        return self.root / "state.json"

    @property
    def trust(self) -> Path:
        """The list of trusted keys."""
        return self.root / "trust.json"

    @property
    def record(self) -> Path:
        """What happened."""
        return self.root / "record.jsonl"

    @property
    def lock(self) -> Path:
        """Held while objects, offers or the list of keys are changed."""
        return self.root / "lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor as long as it runs."""
        return self.root / "supervisor.lock"

    @property
    def installing(self) -> Path:
        """Held while a bundle is installed into a slot."""
        return self.root / "installing.lock"

    @property
    def cache(self) -> Path:
        """What engine libraries keep from one build to the next."""
        return self.root / "cache"

    @property
    def control(self) -> Path:
        """The supervisor's socket."""
        return self.root / "control.sock"

    @property
    def incoming(self) -> Path:
        """Objects on their way."""
        return self.root / "incoming"

    def offer(self, digest: str) -> Path:
        """Return where manifest and release of an offered bundle lie."""
        return self.root / "offers" / digest

    def object(self, sha256: str) -> Path:
        """Return where an object lies, whether it is there or not."""
        return self.root / "objects" / sha256[:2] / sha256

    def slot(self, name: SlotName) -> SlotLayout:
        """Return the files of a slot."""
        return SlotLayout(self.root / "slots" / name)
