"""From an installed bundle to a committed one: the switch, the trial, and the way back."""

from __future__ import annotations

import logging
from collections.abc import Callable

from msgspec.structs import replace

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.device_status import Outcome, SlotName, TrialStatus
from st4vla.contracts.errors import StorageError, TrialError
from st4vla.contracts.flash_messages import Progress
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.flash import Flash, cancelled
from st4vla.runtime.flashing.keeper import Keeper, Retiring, Start
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.record import Record
from st4vla.runtime.flashing.room import why_no_room
from st4vla.runtime.flashing.saved_state import SavedState
from st4vla.runtime.flashing.server_process import ServerProcess
from st4vla.runtime.flashing.switching import Switch
from st4vla.runtime.flashing.transitions import begun_trial, committed, resumed_trial, rolled_back, switched
from st4vla.runtime.flashing.trial import Trial
from st4vla.runtime.flashing.whole_slots import budget_of, whole_record

LOG = logging.getLogger(__name__)


class Changing:
    """Change what a device serves. All methods belong to the thread that decides.

    Args:
        layout: The device's files.
        config: How it is set up.
        saved: Its state.
        keeper: Keeps the server that serves.
        retiring: Where servers end.
        start: Starts a server.
        finished: Called with the outcome of each change.

    Attributes:
        flash: What is being done, until its outcome is told.
    """

    def __init__(
        self,
        layout: Layout,
        config: DeviceConfig,
        saved: SavedState,
        *,
        keeper: Keeper,
        retiring: Retiring,
        start: Start,
        finished: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self._layout, self._config, self._saved = layout, config, saved
        self._keeper, self._retiring, self._start, self._finished = keeper, retiring, start, finished
        self._record = Record(layout.record)
        self.flash: Flash | None = None
        self._switch: Switch | None = None
        self._trial: Trial | None = None
        self._reserve: ServerProcess | None = None
        self._told_s = -1

    @property
    def is_handing_over(self) -> bool:
        """Whether the addresses are changing hands: nothing is to be begun, and nothing is to be taken back."""
        return self._switch is not None and self._switch.stage in {"closing", "going"}

    @property
    def is_switching(self) -> bool:
        """Whether a server is loaded, or takes over."""
        return self._switch is not None

    def resume(self) -> None:
        """Go on with a trial that an earlier supervisor did not bring to its end, or end it.

        Raises:
            StorageError: The disk does not take the state.
        """
        trial = self._saved.now.trial
        if trial is None:
            return
        record = whole_record(self._layout, trial.slot)
        name, digest = ("", "") if record is None else (record.bundle_name, record.bundle_digest)
        self.flash = Flash(name, digest, trial.attempt)
        self.flash.step = "trial"
        most = self._config.trial.max_starts
        why = f"its server was started {trial.starts} times and did not come to the end of its trial"
        if record is None:
            why = f"slot {trial.slot} is damaged"
        if record is None or trial.starts >= most:
            outcome = self.flash.failed(TrialError(f"the new policy was taken back: {why}"), rolled_back=True)
            self._saved.save(rolled_back(self._saved.now, outcome))
            self._finish(outcome)
            return
        self._saved.save(resumed_trial(self._saved.now))
        self.write("trial", text=f"goes on with start {trial.starts + 1} of at most {most}")

    def begin(self, slot: SlotName) -> None:
        """Load the server of a slot, to serve in place of the one that does."""
        assert self.flash is not None  # noqa: S101 - somebody wants it
        running, reserve_bytes = self._keeper.server, self._config.preflight.memory_reserve_bytes
        no_room = None
        if running is not None:
            resident_bytes, root = running.resident_bytes(), self._config.root
            no_room = why_no_room(self._layout.slot(slot), resident_bytes, reserve_bytes, root)
        text = f"slot {slot} is loaded and checked"
        if no_room is not None:
            text += f" after the server of slot {self._keeper.slot} has ended: {no_room}"
        self.flash.say(Progress("switch", text))
        self.write("switch", text=text)
        self._switch = Switch(
            slot,
            self._keeper,
            self._retiring,
            self._start,
            start_timeout_s=self._config.trial.start_timeout_s,
            no_room=no_room,
        )

    def cancel(self) -> None:
        """Give up a switch that has not begun to hand over."""
        if self._switch is not None and not self.is_handing_over:
            self._switch.abandon()

    def step(self) -> None:
        """Do what is due."""
        if self._switch is not None:
            self._step_switch(self._switch)
        elif self._saved.now.trial is not None:
            self._step_trial()

    def roll_back(self, why: str) -> None:
        """Take the policy on trial back."""
        trial, flash = self._saved.now.trial, self.flash
        assert trial is not None  # noqa: S101 - it is on trial
        assert flash is not None  # noqa: S101 - a trial is a part of one
        error = TrialError(f"the new policy was taken back: {why}")
        outcome = flash.failed(error, rolled_back=True)
        self._saved.insist(rolled_back(self._saved.now, outcome))
        reserve, self._reserve, self._trial = self._reserve, None, None
        if trial.previous is not None and reserve is not None and reserve.phase == "standing_by":
            self._switch = Switch(
                trial.previous, self._keeper, self._retiring, self._start, start_timeout_s=0.0, server=reserve
            )
            self._switch.proceed()
            self._step_switch(self._switch)
        else:
            failing = self._keeper.release()
            if failing is not None:
                # It may hang, and must not keep the address.
                failing.kill()
            self._end(failing, reserve)
            if trial.previous is None:
                self._keeper.give_up(str(error))
            else:
                self._keeper.serve(trial.previous)
        self._finish(outcome)

    def shut_down(self) -> None:
        """Let every server that is not the keeper's end."""
        if self._switch is not None:
            self._end(self._switch.server, self._switch.old)
        self._end(self._reserve)

    def trial_status(self) -> TrialStatus | None:
        """Return how a trial goes."""
        state, now_ns = self._saved.now.trial, monotonic_ns()
        if state is None:
            return None
        elapsed_s = 0.0 if self._trial is None else self._trial.elapsed_s(now_ns)
        return TrialStatus(state.slot, state.previous, elapsed_s, self._config.trial.seconds, state.starts)

    def fail(self, error: Exception) -> None:
        """End what is being done, before its switch."""
        assert self.flash is not None  # noqa: S101 - it is what fails
        outcome = self.flash.failed(error)
        self._saved.insist(replace(self._saved.now, last=outcome))
        self._finish(outcome)

    def write(self, event: str, text: str = "") -> None:
        """Write down what happens to the flash, or to the device when there is none; a full disk stops nothing."""
        flash = self.flash
        try:
            if flash is None:
                self._record.write(event, text=text)
            else:
                self._record.write(
                    event,
                    attempt=flash.attempt,
                    step=flash.step,
                    bundle_name=flash.bundle_name,
                    bundle_digest=flash.bundle_digest,
                    text=text,
                )
        except StorageError as error:
            LOG.warning("%s: %s is not in the record", error, event)

    def _step_switch(self, switch: Switch) -> None:
        switch.step()
        if switch.stage == "ready":
            self._hand_over(switch)
        if switch.stage == "failed":
            self._switch = None
            self._switch_failed(switch)
        elif switch.stage == "done":
            self._switch = None
            self._switched(switch)

    def _hand_over(self, switch: Switch) -> None:
        flash, state = self.flash, self._saved.now
        assert flash is not None  # noqa: S101 - a roll-back proceeds by itself
        by_hand = flash.installed is None
        try:
            # Durable before anything happens: after a power cut the new policy is the one on trial.
            self._saved.save(
                switched(state, switch.slot) if by_hand else begun_trial(state, switch.slot, flash.attempt)
            )
        except StorageError as error:
            switch.abandon(type(error).__name__, str(error))
            return
        switch.proceed()
        switch.step()

    def _switched(self, switch: Switch) -> None:
        gap = "" if switch.gap_ms is None else f"; between the two nobody listened, gap_ms={switch.gap_ms:.1f}"
        self.write("serving", text=f"slot {switch.slot} serves{gap}")
        flash, trial = self.flash, self._saved.now.trial
        if trial is not None:
            self._reserve = switch.old
            self._begin_trial(trial.slot, switch)
            return
        self._end(switch.old)
        if flash is not None:
            outcome = flash.succeeded(f"slot {switch.slot} serves again: {flash.bundle_name!r}")
            self._saved.insist(replace(self._saved.now, last=outcome))
            self._finish(outcome)

    def _switch_failed(self, switch: Switch) -> None:
        flash, state = self.flash, self._saved.now
        if state.trial is not None:
            self._reserve = switch.old
            self._end(switch.server)
            self.roll_back(f"slot {switch.slot} could not take over: {switch.why}")
        elif flash is None or switch.has_handed_over:
            # What stood by cannot come back, or what was gone back to by hand does not come up.
            for server in (switch.old, switch.server):
                if server is not None:
                    server.kill()
            self._end(switch.old, switch.server)
            if state.active is not None:
                self._keeper.serve(state.active)
            if flash is not None:
                self.fail(TrialError(f"slot {switch.slot} could not take over: {switch.why}; it is started again"))
        elif flash.is_cancelled:
            self.fail(cancelled())
        else:
            error = TrialError(f"slot {switch.slot} cannot serve, and what served before goes on: {switch.why}")
            outcome = flash.failed(error)
            outcome = replace(outcome, error=switch.error or outcome.error)
            self._saved.insist(replace(self._saved.now, last=outcome))
            self._finish(outcome)

    def _begin_trial(self, slot: SlotName, switch: Switch | None) -> Trial:
        before = None if switch is None else switch.before
        budget = budget_of(self._layout.slot(slot))
        self._told_s = -1
        self._trial = Trial(self._config.trial, budget, before, monotonic_ns())
        return self._trial

    def _step_trial(self) -> None:
        server, state = self._keeper.server, self._saved.now.trial
        if server is None or server.phase != "serving" or state is None:
            return
        trial = self._trial or self._begin_trial(state.slot, None)
        seen, now_ns = server.snapshot, monotonic_ns()
        if seen is None:
            return
        if trial.wants_probe(seen):
            server.ask_probe()
        failed = trial.look(seen, server.probe, now_ns)
        if failed is not None:
            self.roll_back(failed)
        elif trial.has_passed(now_ns):
            self._commit(state.slot)
        else:
            self._tell(trial, trial.elapsed_s(now_ns))

    def _tell(self, trial: Trial, elapsed_s: float) -> None:
        """Say once a second how the trial goes."""
        if self.flash is None or int(elapsed_s) == self._told_s:
            return
        self._told_s = int(elapsed_s)
        needed_s, doubts = self._config.trial.seconds, "; ".join(trial.doubts())
        text = f"served for {elapsed_s:.0f} of {needed_s:g} s" + (f"; in doubt: {doubts}" if doubts else "")
        self.flash.say(Progress("trial", text, min(elapsed_s / needed_s, 1.0)))

    def _commit(self, slot: SlotName) -> None:
        flash, record = self.flash, whole_record(self._layout, slot)
        assert flash is not None  # noqa: S101 - a trial is a part of one
        if record is None:
            self.roll_back(f"slot {slot} was damaged while it was on trial")
            return
        flash.step = "commit"
        outcome = flash.succeeded(f"{flash.bundle_name!r} is committed and serves from slot {slot}")
        try:
            self._saved.save(committed(self._saved.now, record, outcome))
        except StorageError as error:
            # On trial still, and tried again with the next look.
            LOG.warning("%s", error)
            return
        self._trial = None
        reserve, self._reserve = self._reserve, None
        self._end(reserve)
        self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        flash = self.flash
        assert flash is not None  # noqa: S101 - it is its outcome
        done = "committed" if outcome.step == "commit" else "switched"
        self.write(done if outcome.ok else "rolled_back" if outcome.rolled_back else "failed", outcome.message)
        self.flash = None
        flash.finish(outcome)
        self._finished(outcome)

    def _end(self, *servers: ServerProcess | None) -> None:
        for server in servers:
            self._retiring.add(server)
