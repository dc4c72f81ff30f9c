import os
import signal
from typing import Any

import pytest

from st4vla.contracts.errors import BudgetError, DeviceBusyError, FlashError, StorageError
from st4vla.runtime.flashing import saved_state
from st4vla.runtime.flashing.slots import read_slot

CLIENT = {
    "name": "zmq:1",
    "instruction": "lift",
    "rate_hz": 10.0,
    "frame_age_ms": 10.0,
    "plan_age_ms": 10.0,
    "plan_age_now_ms": 10.0,
    "pace": "RUN",
    "chunk_id": 1,
    "superseded": 0,
    "clock_offset_ms": None,
    "clock_bound_ms": None,
    "delay_ms": 0.0,
    "last_seen_s": 0.0,
}


def test_a_new_device_serves_nothing_and_takes_its_first_policy(rig: Any) -> None:
    supervisor = rig.boot()
    assert supervisor.statuses()[0].causes == ("nothing was flashed to this device yet",)
    outcome = rig.ended(rig.flash("new:1"))
    assert outcome.ok, outcome
    assert rig.state.active == "a"
    assert rig.state.trial is None
    assert rig.state.committed["new"].counter == 1
    assert rig.installer.serving == [False]


def test_a_flash_that_does_well_is_committed_and_the_old_server_ends(rig: Any) -> None:
    rig.serves("a")
    rig.boot()
    rig.until_serving("a")
    outcome = rig.ended(rig.flash("new:2"))
    assert (outcome.ok, outcome.step) == (True, "commit")
    assert rig.state.active == "b"
    assert rig.state.last == outcome
    assert rig.installer.serving == [True]
    assert "gap_ms=" in rig.said("serving")
    # The old one stood by until then.
    assert (rig.starts("a"), rig.starts("b")) == (1, 1)
    # The new one was loaded behind it.
    assert rig.behind == [False, True]
    rig.until(lambda: rig.offers.dropped == ["new:2"])


def test_a_bundle_that_is_refused_leaves_everything_as_it_is(rig: Any) -> None:
    rig.serves("a")
    rig.installer.refuses = BudgetError("System 1 takes 40 ms, 30 ms are allowed")
    rig.boot()
    rig.until_serving("a")
    outcome = rig.ended(rig.flash())
    assert (outcome.ok, outcome.error, outcome.rolled_back) == (False, "BudgetError", False)
    assert "40 ms" in outcome.message
    assert rig.state.active == "a"
    assert rig.starts("a") == 1


def test_a_failure_that_nobody_thought_of_is_an_outcome_too(rig: Any) -> None:
    rig.serves("a")
    rig.installer.refuses = ZeroDivisionError("x")
    rig.boot()
    assert rig.ended(rig.flash()).error == "ZeroDivisionError"
    rig.until_serving("a")


def test_engines_that_the_new_server_refuses_never_serve(rig: Any) -> None:
    rig.serves("a")
    rig.act("b", refuse=("ParityError", "engine 'bridge' differs"))
    rig.boot()
    rig.until_serving("a")
    outcome = rig.ended(rig.flash())
    assert (outcome.error, outcome.rolled_back) == ("ParityError", False)
    assert "what served before goes on: engine 'bridge' differs" in outcome.message
    assert rig.state.active == "a"
    assert rig.starts("a") == 1


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "crash": ({"crash": True}, "SIGSEGV"),
    "not ready": ({"snapshot": {"ready": False, "causes": [{"name": "act_ended", "text": "ended"}]}}, "ended"),
    "NaN": ({"snapshot": {"drops": {"refused": {"unsafe_output": 2}}}}, "2 chunks held NaN"),
    "failures": ({"snapshot": {"system1": {"failures": 1}}}, "System 1 failed in 1 calls"),
    "a cause": ({"snapshot": {"causes": [{"name": "system2_fails", "text": "it failed"}]}}, "system2_fails"),
    "a probe": ({"probe": {"text": "no chunk came"}}, "no chunk came"),
    "no address": ({"cannot_go": True}, "the address is in use"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_policy_that_does_badly_is_taken_back_by_the_server_that_stood_by(rig: Any, name: str) -> None:
    acts, said = BAD[name]
    rig.serves("a")
    rig.boot()
    rig.until_serving("a")
    rig.act("b", **acts)
    outcome = rig.ended(rig.flash())
    assert (outcome.ok, outcome.rolled_back, outcome.error) == (False, True, "TrialError")
    assert said in outcome.message
    rig.until_serving("a")
    assert rig.starts("a") == 1
    state = rig.state
    assert (state.active, state.active_since, state.trial) == ("a", "2026-01-01T00:00:00Z", None)
    assert "new" not in state.committed


def test_a_first_policy_that_does_badly_leaves_nothing_to_serve_and_says_why(rig: Any) -> None:
    rig.act("a", crash=True)
    supervisor = rig.boot()
    assert rig.ended(rig.flash("new:1")).rolled_back
    assert rig.state.active is None
    status = supervisor.statuses()[0]
    assert status.health == "down"
    assert "SIGSEGV" in status.causes[0]


def test_a_rate_that_stays_low_for_a_client_that_goes_on_takes_the_policy_back(rig: Any) -> None:
    rig.serves("a")
    rig.act("a", snapshot={"clients": [CLIENT]})
    rig.boot()
    rig.until_serving("a")
    rig.act("b", snapshot={"clients": [CLIENT | {"rate_hz": 6.0}]})
    assert "gets 6.0 chunks a second and got 10.0" in rig.ended(rig.flash()).message


def test_a_policy_that_served_before_the_old_one_clung_to_its_address_comes_up(rig: Any) -> None:
    rig.serves("a")
    rig.boot()
    rig.until_serving("a")
    rig.act("a", clings=True)
    assert rig.ended(rig.flash()).ok


def test_one_flash_at_a_time_and_the_same_one_can_be_joined(rig: Any) -> None:
    rig.serves("a")
    rig.installer.go_on.clear()
    supervisor = rig.boot()
    first = supervisor.install("new:2")
    assert supervisor.install("new:2") is first
    assert supervisor.watch() is first
    with pytest.raises(DeviceBusyError, match=r"'new' .new:2. is being flashed"):
        supervisor.install("other:1")
    rig.installer.go_on.set()
    rig.until(lambda: first.outcome is not None)
    assert supervisor.watch() == first.outcome


def test_a_flash_is_cancelled_while_it_is_built_and_not_after_the_switch(rig: Any) -> None:
    rig.serves("a")
    rig.installer.go_on.clear()
    supervisor = rig.boot()
    rig.until_serving("a")
    flash = supervisor.install("new:2")
    assert supervisor.cancel() is flash
    rig.until(lambda: flash.outcome is not None)
    assert rig.ended(flash).error == "CancelledError"
    with pytest.raises(FlashError, match="nothing is being flashed"):
        supervisor.cancel()
    rig.installer.go_on.set()
    again = supervisor.install("new:2")
    rig.until(lambda: rig.state.trial is not None)
    with pytest.raises(FlashError, match="rollback"):
        supervisor.cancel()
    rig.until(lambda: again.outcome is not None)


def test_a_flash_is_cancelled_while_its_server_is_loaded(rig: Any) -> None:
    rig.serves("a")
    rig.act("b", load_s=60)
    supervisor = rig.boot()
    rig.until_serving("a")
    flash = supervisor.install("new:2")
    rig.until(lambda: rig.starts("b") == 1)
    supervisor.cancel()
    rig.until(lambda: flash.outcome is not None)
    assert rig.ended(flash).error == "CancelledError"
    assert rig.state.active == "a"
    assert rig.health() == "ready"


def test_what_serves_already_is_not_flashed_again(rig: Any) -> None:
    rig.serves("a")
    supervisor = rig.boot()
    rig.until_serving("a")
    rig.offers.find = lambda _: type("Offer", (), {"manifest": type("Manifest", (), {"name": "old"})})
    record = read_slot(rig.layout, "a")
    assert record is not None
    outcome = rig.ended(supervisor.install(record.bundle_digest))
    assert outcome.ok
    assert "serves already" in outcome.message


def test_a_policy_is_taken_back_by_hand_and_comes_back_by_hand(rig: Any) -> None:
    rig.serves("a")
    supervisor = rig.boot()
    rig.until_serving("a")
    assert rig.ended(rig.flash()).ok
    back = supervisor.roll_back()
    rig.until(lambda: back.outcome is not None)
    assert rig.ended(back).ok
    assert rig.state.active == "a"
    rig.until_serving("a")
    forth = supervisor.roll_back()
    rig.until(lambda: forth.outcome is not None)
    assert rig.state.active == "b"


def test_what_was_never_committed_is_nothing_to_go_back_to(rig: Any) -> None:
    rig.serves("a")
    supervisor = rig.boot()
    rig.until_serving("a")
    with pytest.raises(FlashError, match="slot b holds no complete policy"):
        supervisor.roll_back()
    rig.act("b", crash=True)
    assert rig.ended(rig.flash()).rolled_back
    with pytest.raises(FlashError, match="was never committed"):
        supervisor.roll_back()


def test_a_trial_is_ended_by_hand(rig: Any) -> None:
    rig.serves("a")
    supervisor = rig.boot()
    rig.until_serving("a")
    flash = supervisor.install("new:2")
    rig.until(lambda: supervisor.statuses()[2] is not None and supervisor.statuses()[2].elapsed_s > 0)
    assert supervisor.roll_back() is flash
    assert rig.ended(flash).rolled_back
    rig.until_serving("a")


def test_without_memory_for_both_the_old_server_ends_first(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st4vla.runtime.flashing.changing.why_no_room", lambda *_: "5 MiB are available")
    rig.serves("a")
    rig.boot()
    rig.until_serving("a")
    assert rig.ended(rig.flash()).ok
    assert "after the server of slot a has ended: 5 MiB are available" in rig.said("switch")
    assert (rig.starts("a"), rig.starts("b")) == (1, 1)


def test_without_memory_for_both_a_new_server_that_refuses_brings_the_old_one_back(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("st4vla.runtime.flashing.changing.why_no_room", lambda *_: "5 MiB are available")
    rig.serves("a")
    rig.act("b", refuse=("ParityError", "differs"))
    rig.boot()
    rig.until_serving("a")
    outcome = rig.ended(rig.flash())
    assert (outcome.error, outcome.rolled_back) == ("ParityError", False)
    rig.until_serving("a")
    assert rig.starts("a") == 2


def test_a_disk_that_takes_no_state_lets_nothing_be_switched(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.serves("a")
    rig.boot()
    rig.until_serving("a")

    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(saved_state, "write_state", full)
        outcome = rig.ended(rig.flash())
    assert (outcome.error, outcome.ok) == ("StorageError", False)
    assert rig.state.active == "a"
    assert rig.health() == "ready"
    assert rig.starts("a") == 1
    # What could not be written is written later.
    rig.until(lambda: rig.state.last == outcome)


def test_a_dry_run_says_what_would_be_done_and_what_is_wrong(rig: Any) -> None:
    supervisor = rig.boot()
    assert supervisor.dry_run("new:1").message == "new would go into slot a"
    rig.installer.refuses = BudgetError("too slow")
    assert supervisor.dry_run("new:1").error == "BudgetError"
    with pytest.raises(FlashError, match="was offered"):
        supervisor.dry_run("unknown")


def test_a_server_that_is_killed_for_memory_beside_the_old_one_is_tried_alone(rig: Any) -> None:
    rig.serves("a")
    rig.act("b", load_s=1)
    supervisor = rig.boot()
    rig.until_serving("a")
    flash = supervisor.install("new:2")
    rig.until(lambda: rig.starts("b") == 1)
    rig.act("b")
    os.kill(int(rig.behaviour("b").with_suffix(".log").read_text().split()[-1]), signal.SIGKILL)
    rig.until(lambda: flash.outcome is not None)
    assert rig.ended(flash).ok
    assert rig.starts("b") == 2
