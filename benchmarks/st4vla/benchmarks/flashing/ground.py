"""Two policies of one name, signed: what devices are flashed with when it is the flashing that matters."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from st4vla.benchmarks.flashing.asking import BOUND, Known, ask, identify, know
from st4vla.benchmarks.flashing.derived_bundle import derive_bundle
from st4vla.benchmarks.flashing.hosting import FLASH_TIMEOUT_S, flash
from st4vla.benchmarks.flashing.lab import Lab
from st4vla.benchmarks.flashing.powered_device import PoweredDevice
from st4vla.contracts.manifests import Bundle
from st4vla.export.flashing.results import Result
from st4vla.export.signing import Terms

OLD_COUNTER, NEW_COUNTER = 10, 20


class Ground:
    """A laboratory and its policies.

    Args:
        folder: For everything of it.
        source: The first policy; the second is derived from it, and has its name, its planner and its bridge.

    Attributes:
        lab: Signs.
        old: The first policy, with the counter `OLD_COUNTER`.
        new: The second, with `NEW_COUNTER`.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        self.lab = Lab(folder / "keys")
        shutil.copytree(source, folder / "old")
        old = Bundle(folder / "old")
        new = derive_bundle(old, folder / "new", seed=1)
        self.lab.sign(old.folder, counter=OLD_COUNTER)
        self.lab.sign(new.folder, counter=NEW_COUNTER)
        self.old, self.new = know(old), know(new)

    def copy(self, folder: Path, alter: Callable[[Path], None] = lambda _: None) -> Path:
        """Return a copy of the new policy's folder that something was done to; it is signed as before."""
        shutil.copytree(self.new.bundle.folder, folder)
        alter(folder)
        return folder

    def release(self, policy: Known, folder: Path, terms: Terms | None = None, *, counter: int) -> Path:
        """Return a copy of a policy's folder that is signed as another release."""
        shutil.copytree(policy.bundle.folder, folder)
        self.lab.sign(folder, terms, counter=counter)
        return folder

    def flash(
        self,
        device: PoweredDevice,
        bundle: Path | None = None,
        *,
        config: Path | None = None,
        timeout_s: float = FLASH_TIMEOUT_S,
    ) -> Result:
        """Flash a device with the new policy, or with a bundle in a folder, and return how that ended.

        Args:
            device: Which one.
            bundle: Folder of a bundle.
            config: Of `ssh`.
            timeout_s: How long it may take.

        Raises:
            SignatureError, FileAlteredError, FileMissingError: The host itself refuses the bundle.
        """
        return flash(device, bundle or self.new.bundle.folder, self.lab.trust, config=config, timeout_s=timeout_s)

    def serves(self, device: PoweredDevice, timeout_s: float = 30.0, bound: float = BOUND) -> str:
        """Return which policy answers, ``old`` or ``new``.

        Args:
            device: Which one is asked.
            timeout_s: How long.
            bound: Largest difference of an action; processors of another kind add in another order.

        Raises:
            ParityError: What answers is neither of them, or not whole.
            ServerUnreachableError: Nobody answers.
        """
        found = identify(ask(device.endpoint, self.old, timeout_s), [self.old, self.new], bound)
        return "old" if found is self.old else "new"
