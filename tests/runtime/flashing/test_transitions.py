import pytest
from msgspec.structs import replace

from st4vla.contracts.device_status import Outcome
from st4vla.runtime.flashing.state import SLOT_FORMAT, Committed, DeviceState, SlotRecord
from st4vla.runtime.flashing.transitions import begun_trial, committed, has_served, resumed_trial, rolled_back, switched

OLD = DeviceState(active="a", active_since="then", committed={"p": Committed(3, "three")})
RECORD = SlotRecord(SLOT_FORMAT, "p", "four", 4, "k", "t", "flash-1")
OUTCOME = Outcome(ok=True, attempt="flash-1", bundle_name="p", bundle_digest="four", step="commit", message="m")


def test_a_trial_begins_goes_on_and_is_committed() -> None:
    trial = begun_trial(OLD, "b", "flash-1")
    assert trial.active == "b"
    assert trial.trial is not None
    assert (trial.trial.previous, trial.trial.previous_since, trial.trial.starts) == ("a", "then", 1)
    again = resumed_trial(trial)
    assert again.trial is not None
    assert again.trial.starts == 2
    done = committed(again, RECORD, OUTCOME)
    assert (done.trial, done.active, done.last) == (None, "b", OUTCOME)
    assert done.committed == {"p": Committed(4, "four")}


def test_a_trial_is_taken_back_to_just_what_was_before() -> None:
    back = rolled_back(begun_trial(OLD, "b", "flash-1"), OUTCOME)
    assert back == replace(OLD, last=OUTCOME)
    first = rolled_back(begun_trial(DeviceState(), "a", "flash-1"), OUTCOME)
    assert first == DeviceState(last=OUTCOME)


def test_a_counter_never_falls() -> None:
    older = replace(RECORD, counter=2, bundle_digest="two")
    assert committed(begun_trial(OLD, "b", "x"), older, OUTCOME).committed == OLD.committed


def test_going_back_by_hand_keeps_what_was_committed() -> None:
    assert switched(OLD, "b").active == "b"
    assert switched(OLD, "b").committed == OLD.committed


def test_only_what_was_committed_has_served() -> None:
    assert not has_served(OLD, RECORD)
    assert has_served(OLD, replace(RECORD, counter=3, bundle_digest="three"))
    assert not has_served(OLD, replace(RECORD, counter=3))
    assert has_served(OLD, replace(RECORD, counter=1))
    assert not has_served(OLD, replace(RECORD, bundle_name="q", counter=1))


def test_without_a_trial_there_is_nothing_to_take_back() -> None:
    with pytest.raises(ValueError, match="nothing is on trial"):
        rolled_back(OLD, OUTCOME)
