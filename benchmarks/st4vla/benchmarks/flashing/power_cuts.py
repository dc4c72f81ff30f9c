"""Pull the plug of a device at any instant of a flash, again and again, and see what it comes up with."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from st4vla.benchmarks.flashing.asking import Known, ask, identify, know
from st4vla.benchmarks.flashing.derived_bundle import derive_bundle
from st4vla.benchmarks.flashing.hosting import Flashing, flash
from st4vla.benchmarks.flashing.lab import Lab
from st4vla.benchmarks.flashing.stand_in import StandIn
from st4vla.benchmarks.flashing.stops import Stops
from st4vla.contracts.device_status import STEPS, Step
from st4vla.contracts.errors import FlashError
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.record import Record, RecordLine
from st4vla.runtime.flashing.state import DeviceState, read_state

#: With two bundles on a device, a third one has something to send.
POLICIES = 3
SETTLE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Cut:
    """One cut, and how the device came up.

    Attributes:
        at: When it was.
        step: The step that the flash had come to, by the device's record; empty before its first line.
        new: It came up with the new policy.
        back_s: From the return of the power to the first chunk.
        kept_new: It has the new policy after its trial, too.
    """

    at: str
    step: str
    new: bool
    back_s: float
    kept_new: bool


class CutDevice:
    """A stand-in that loses its power, and policies of one name to flash it with.

    Args:
        folder: For everything of it.
        source: The bundle from which the policies are derived.
        config: Of the device.
        seed: Of the order of policies and of the instants.

    Attributes:
        device: The stand-in.
        stops: Where it can be stopped.
        random: For instants.
        flash_s: How long the last flash took that nobody cut.
    """

    def __init__(self, folder: Path, source: Bundle, config: DeviceConfig, *, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - instants, not secrets
        self._lab = Lab(folder / "keys")
        derived = (derive_bundle(source, folder / f"policy{number}", seed=number) for number in range(POLICIES))
        self._policies = [know(bundle) for bundle in derived]
        self.stops = Stops(folder / "stops")
        name = f"stand-in-{seed}"
        self.device = StandIn(name, folder / "device", self._lab.trust, config=config, adjust=self.stops.environment)
        self._serving, self._counter = self._policies[0], 0
        self.flash_s = 0.0

    def begin(self) -> None:
        """Switch it on, and flash the first policy.

        Raises:
            FlashError: That fails.
        """
        self.device.boot()
        self.device.await_supervisor()
        self._flash_whole(self._policies[0])

    def count_changes(self) -> int:
        """Flash without a cut, and return how many changes to files that took."""
        self.stops.begin()
        self._flash_whole(self._choose())
        return self.stops.count

    def cut_after(self, seconds: float) -> Cut:
        """Cut the power so long after a flash began; see `cut`."""

        def pull(_: Flashing) -> str:
            time.sleep(seconds)
            return f"{seconds:.3f} s"

        return self.cut(pull)

    def cut_before_change(self, number: int) -> Cut:
        """Cut the power before the N-th change to the device's files, or at the end of a flash that has fewer."""

        def pull(flashing: Flashing) -> str:
            return f"change {number}: {self.stops.wait(lambda: flashing.ended) or 'none'}"

        self.stops.begin(number)
        return self.cut(pull)

    def cut_at_step(self, step: Step) -> Cut:
        """Cut the power as soon as the device's record says that a step begins."""
        last = len(self._record())

        def pull(flashing: Flashing) -> str:
            # A trial begins when the new server serves.
            while not flashing.ended and not any(
                line.step == step or (step == "trial" and line.event == "serving") for line in self._record()[last:]
            ):
                time.sleep(0.001)
            return f"step {step}"

        return self.cut(pull)

    def cut(self, pull: Callable[[Flashing], str]) -> Cut:
        """Flash another policy, cut the power, switch it on again, see what serves, and flash without a cut.

        Args:
            pull: Is given the flash that runs, and returns when the power is to be cut, saying what that instant is.

        Raises:
            FlashError: The next flash fails, or the device's files say something else than it serves.
            ParityError: What it serves is not one of the two policies.
            ServerUnreachableError: It does not serve.
        """
        old, new = self._serving, self._choose()
        self._sign(new)
        last = len(self._record())
        with Flashing(self.device, new.bundle.folder, self._lab.trust) as flashing:
            at = pull(flashing)
            self.device.cut_power()
        lines = [line for line in self._record()[last:] if line.step is not None]
        step = str(lines[-1].step) if lines else ""
        self.stops.begin()
        began = time.monotonic()
        self.device.boot()
        served = self._served([old, new])
        back_s = time.monotonic() - began
        self.device.await_supervisor()
        self._settle()
        self._serving = self._served([old, new])
        found = Cut(at, step, served is new, back_s, self._serving is new)
        self._flash_whole(new if self._serving is old else self._choose())
        return found

    def _choose(self) -> Known:
        return self.random.choice([policy for policy in self._policies if policy is not self._serving])

    def _sign(self, policy: Known) -> None:
        """Release it again, newer than all that were released: any of the policies can follow any other."""
        self._counter += 1
        self._lab.sign(policy.bundle.folder, counter=self._counter)

    def _flash_whole(self, policy: Known) -> None:
        self._sign(policy)
        began = time.monotonic()
        result = flash(self.device, policy.bundle.folder, self._lab.trust)
        if not result.ok:
            msg = f"{self.device.name} does not take the next flash: {result.message}"
            raise FlashError(msg)
        self.flash_s = time.monotonic() - began
        self._serving = self._served([policy])

    def _served(self, candidates: list[Known]) -> Known:
        """Return which policy serves: by its answer, with which the device's own files must agree."""
        known = identify(ask(self.device.endpoint, candidates[0], SETTLE_TIMEOUT_S), candidates)
        state = self._state()
        slot = "" if state.active is None else self.device.layout.slot(state.active).record.read_text()
        if known.bundle.digest not in slot:
            msg = f"{self.device.name} serves {known.bundle.digest[:12]}, which slot {state.active} does not hold"
            raise FlashError(msg)
        return known

    def _settle(self) -> None:
        """Wait until nothing is on trial."""
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while self._state().trial is not None:
            if time.monotonic() > deadline:
                msg = f"the trial of {self.device.name} does not end"
                raise FlashError(msg)
            time.sleep(0.02)

    def _state(self) -> DeviceState:
        return read_state(self.device.layout.state)

    def _record(self) -> list[RecordLine]:
        return Record(self.device.layout.record).read(None)


def cut_at_random(device: CutDevice, count: int) -> Iterator[Cut]:
    """Cut the power at random instants, from before the first connection to after the end of a flash."""
    for _ in range(count):
        # As long as the flash before took: that changes with what else the machine does.
        yield device.cut_after(device.random.uniform(0.0, 1.05 * device.flash_s))


def cut_at_steps(device: CutDevice, share: tuple[int, int] = (0, 1)) -> Iterator[Cut]:
    """Cut the power at the beginning of every step; for a share of them see `cut_at_changes`."""
    first, every = share
    for step in STEPS[first::every]:
        yield device.cut_at_step(step)


def cut_at_changes(device: CutDevice, share: tuple[int, int] = (0, 1)) -> Iterator[Cut]:
    """Cut the power before each change that a flash makes to the device's files.

    Args:
        device: Which one.
        share: Every how many-eth change, and which: (0, 1) are all, (0, 2) and (1, 2) a half each.
    """
    first, step = share
    for number in range(1 + first, device.count_changes() + 1, step):
        yield device.cut_before_change(number)
