"""How a device's state changes: each change is one state in the place of another."""

from __future__ import annotations

from msgspec.structs import replace

from st4vla.contracts.device_status import Outcome, SlotName
from st4vla.runtime.flashing.record import utc_now
from st4vla.runtime.flashing.state import Committed, DeviceState, SlotRecord, Trial


def begun_trial(state: DeviceState, slot: SlotName, attempt: str) -> DeviceState:
    """Return the state in which a new policy serves, once, and may be taken back."""
    trial = Trial(slot, state.active, state.active_since, attempt, starts=1)
    return replace(state, active=slot, active_since=utc_now(), trial=trial)


def resumed_trial(state: DeviceState) -> DeviceState:
    """Return the state in which a trial goes on with another start, which is counted before it happens."""
    trial = _trial(state)
    return replace(state, trial=replace(trial, starts=trial.starts + 1))


def rolled_back(state: DeviceState, outcome: Outcome) -> DeviceState:
    """Return the state in which what served before a trial serves again."""
    trial = _trial(state)
    since = trial.previous_since if trial.previous is not None else ""
    return replace(state, active=trial.previous, active_since=since, trial=None, last=outcome)


def committed(state: DeviceState, record: SlotRecord, outcome: Outcome) -> DeviceState:
    """Return the state in which the policy on trial stays, and no older release of its name is taken any more."""
    before = state.committed.get(record.bundle_name)
    # A counter never falls, whatever order things came in.
    raised = before is None or record.counter >= before.counter
    newest = Committed(record.counter, record.bundle_digest) if raised or before is None else before
    return replace(state, trial=None, committed={**state.committed, record.bundle_name: newest}, last=outcome)


def switched(state: DeviceState, slot: SlotName) -> DeviceState:
    """Return the state in which a slot serves that has served before."""
    return replace(state, active=slot, active_since=utc_now(), trial=None)


def has_served(state: DeviceState, record: SlotRecord) -> bool:
    """Say whether what a slot holds was committed on this device once, and not only tried."""
    newest = state.committed.get(record.bundle_name)
    if newest is None or record.counter > newest.counter:
        return False
    return record.counter < newest.counter or record.bundle_digest == newest.bundle_digest


def _trial(state: DeviceState) -> Trial:
    if state.trial is None:
        msg = "nothing is on trial"
        raise ValueError(msg)
    return state.trial
