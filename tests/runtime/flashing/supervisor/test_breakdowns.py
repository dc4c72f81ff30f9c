"""What a supervisor makes of servers, files, and supervisors before it, that came to a bad end."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st4vla.runtime.flashing import keeper as keeping
from st4vla.runtime.flashing import saved_state
from st4vla.runtime.flashing.flash import Flash
from st4vla.runtime.flashing.state import DeviceState


def test_a_server_that_crashes_is_started_again_with_patience_and_never_switched(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "BACKOFF_S", 0.02)
    rig.serves("a")
    supervisor = rig.boot()
    rig.until_serving("a")
    assert rig.ended(rig.flash()).ok
    rig.act("b", crash=True)
    rig.until(lambda: supervisor.statuses()[0].restarts >= keeping.MANY)
    rig.until(lambda: supervisor.statuses()[0].health == "down")
    status = supervisor.statuses()[0]
    assert "SIGSEGV" in status.causes[0]
    assert rig.state.active == "b"
    rig.act("b")
    rig.until_serving("b")


def test_a_server_that_says_nothing_is_ended_and_started_again(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SILENT_S", 0.3)
    monkeypatch.setattr(keeping, "ASK_S", 0.05)
    rig.serves("a")
    rig.boot()
    rig.until_serving("a")
    rig.act("a", silent=True, deaf=True)
    rig.until(lambda: "server_ended" in rig.events())
    assert "has not said how it is" in rig.said("server_ended")
    rig.act("a")
    rig.until_serving("a")


def test_damaged_files_let_the_other_slot_serve_when_that_has_served_before(rig: Any) -> None:
    rig.serves("a")
    rig.boot()
    rig.until_serving("a")
    assert rig.ended(rig.flash()).ok
    rig.stop()
    rig.act("b", refuse=("FileAlteredError", "bridge.engine was altered"))
    rig.boot()
    rig.until_serving("a")
    assert "bridge.engine was altered. Slot a serves instead" in rig.said("fell_back")


def test_engines_of_another_machine_are_no_damage_and_it_is_said_what_helps(rig: Any) -> None:
    rig.serves("a")
    rig.act("a", refuse=("FingerprintMismatchError", "the driver is another one"))
    supervisor = rig.boot()
    rig.until(lambda: supervisor.statuses()[0].restarts > 0)
    assert "flash the bundle again" in supervisor.statuses()[0].causes[0]
    assert rig.state.active == "a"
    assert "damaged" not in rig.events()


def test_two_damaged_slots_are_said_and_wait_for_a_flash(rig: Any) -> None:
    rig.serves("a")
    rig.layout.slot("a").record.unlink()
    supervisor = rig.boot()
    rig.until(lambda: supervisor.statuses()[0].health == "down")
    assert "There is no other policy" in supervisor.statuses()[0].causes[0]
    assert rig.ended(rig.flash()).ok
    rig.until_serving("b")


def test_a_supervisor_that_stops_takes_its_servers_with_it(rig: Any) -> None:
    rig.serves("a")
    rig.boot()
    rig.until_serving("a")
    rig.stop()
    pid = int(rig.behaviour("a").with_suffix(".log").read_text().split()[-1])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert rig.events()[-1] == "stopped"


def test_a_supervisor_that_stops_ends_a_build_and_the_next_one_says_so(rig: Any) -> None:
    rig.serves("a")
    rig.installer.go_on.clear()
    supervisor = rig.boot()
    flash = supervisor.install("new:2")
    rig.stop()
    assert rig.ended(flash).error == "CancelledError"
    assert rig.state.last == flash.outcome
    assert rig.boot().watch() == flash.outcome


class PowerCut(BaseException):
    """Nothing is done any more."""


@pytest.mark.parametrize("plan", [("before", 1), ("after", 1), ("before", 2), ("after", 2)])
@pytest.mark.parametrize("well", [True, False])
def test_a_cut_at_each_change_of_the_state_leaves_the_old_or_the_new_policy(
    rig: Any, monkeypatch: pytest.MonkeyPatch, plan: tuple[str, int], well: bool
) -> None:
    rig.serves("a")
    rig.boot()
    rig.until_serving("a")
    real, count = saved_state.write_state, 0

    def write(path: Path, state: DeviceState) -> None:
        nonlocal count
        count += 1
        if plan == ("before", count):
            raise PowerCut
        real(path, state)
        if plan == ("after", count):
            raise PowerCut

    rig.act("b", snapshot={} if well else {"drops": {"refused": {"unsafe_output": 1}}})
    with monkeypatch.context() as patch:
        patch.setattr(saved_state, "write_state", write)
        assert rig.supervisor.install("new:2")
        rig.until_cut(PowerCut)
    rig.boot()
    rig.until(lambda: rig.state.trial is None)
    serves = "b" if well and plan != ("before", 1) else "a"
    rig.until_serving(serves)
    assert ("new" in rig.state.committed) == (serves == "b")
    rig.act("a")
    rig.act("b")
    assert rig.ended(rig.flash("new:3")).ok


def test_a_server_that_a_dead_supervisor_left_is_ended_before_another_serves(
    rig: Any, orphan: Callable[[], int]
) -> None:
    rig.serves("a")
    pid = orphan()
    rig.boot()
    rig.until_serving("a")
    assert "server_left" in rig.events()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_trial_goes_on_with_the_next_supervisor_and_not_without_end(rig: Any) -> None:
    rig.serves("a")
    rig.config = rig.config.__class__(trial=rig.config.trial.__class__(seconds=30.0, start_timeout_s=10.0))
    rig.boot()
    rig.until_serving("a")
    assert rig.supervisor.install("new:2")
    rig.until(lambda: rig.state.trial is not None)
    rig.stop()
    rig.boot()
    assert rig.state.trial.starts == 2
    rig.until_serving("b")
    rig.stop()
    rig.boot()
    assert rig.state.trial is None
    assert rig.state.last.rolled_back
    assert "was started 2 times" in rig.state.last.message
    rig.until_serving("a")


def test_a_trial_that_goes_on_is_committed_like_any_other(rig: Any) -> None:
    rig.serves("a")
    supervisor = rig.boot()
    rig.until_serving("a")
    supervisor.install("new:2")
    rig.until(lambda: rig.state.trial is not None)
    rig.stop()
    supervisor = rig.boot()
    flash = supervisor.watch()
    assert isinstance(flash, Flash)
    rig.until(lambda: flash.outcome is not None)
    assert rig.ended(flash).ok
    assert rig.state.committed["new"].counter == 2
