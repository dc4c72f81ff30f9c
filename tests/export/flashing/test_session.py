"""Tests of one device's flash, against a device that follows a script through a stand-in for ssh."""

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

from st4vla.contracts.device_status import STEPS
from st4vla.export.flashing.payload import open_payload
from st4vla.export.flashing.rate import RateLimit
from st4vla.export.flashing.results import Result
from st4vla.export.flashing.session import Plan, Session


def flash(device: Any, plan: Plan) -> Result:
    async def run() -> Result:
        return await Session(device, plan).run()

    return asyncio.run(run())


def patient(plan: Plan, **fields: float) -> Plan:
    return dataclasses.replace(plan, patience=dataclasses.replace(plan.patience, **fields))


def test_a_device_gets_all_objects_and_every_step_is_told(fleet: Any, plan: Plan, told: Any) -> None:
    result = flash(fleet.device("thor"), plan)
    assert (result.state, result.message, result.step) == ("flashed", "it serves", "commit")
    assert fleet.objects("thor") == {entry.sha256 for entry in plan.payload.files.values()}
    assert [step for _, step in told.steps] == list(STEPS[1:])
    assert result.wanted_bytes == plan.payload.size
    assert plan.payload.size < result.sent_bytes < plan.payload.size + 20_000
    assert result.connections == 1


def test_only_what_the_device_lacks_travels(fleet: Any, plan: Plan, signer: Any, tmp_path: Any) -> None:
    device = fleet.device("thor")
    flash(device, plan)
    second = open_payload(signer.bundle(tmp_path / "second", seed=1), signer.trust)
    result = flash(device, dataclasses.replace(plan, payload=second))
    assert result.state == "flashed"
    assert result.wanted_bytes == sum(
        entry.size for name, entry in second.files.items() if not name.startswith("planner")
    )


def test_a_device_that_runs_the_bundle_is_left_alone_unless_asked(fleet: Any, plan: Plan) -> None:
    device = fleet.device("thor")
    flash(device, plan)
    result = flash(device, plan)
    assert (result.state, result.ok) == ("unchanged", True)
    assert fleet.log("thor")[-1] == "1 hello"
    assert flash(device, dataclasses.replace(plan, again=True)).state == "flashed"


def test_a_device_that_has_the_bundle_and_does_not_serve_it_is_flashed(fleet: Any, plan: Plan) -> None:
    device = fleet.device("thor", {"health": "down"})
    assert [flash(device, plan).state for _ in range(2)] == ["flashed", "flashed"]


def test_a_dry_run_sends_no_file_and_says_what_would_happen(fleet: Any, plan: Plan) -> None:
    result = flash(fleet.device("thor"), dataclasses.replace(plan, dry_run=True))
    assert (result.state, result.message) == ("would flash", "would compile planner")
    assert result.wanted_bytes == plan.payload.size
    assert result.sent_bytes < 20_000
    assert fleet.log("thor") == ["0 hello", "0 offer", "0 install"]


def test_a_link_that_is_cut_amid_files_goes_on_where_it_was(fleet: Any, plan: Plan, told: Any) -> None:
    device = fleet.device("thor", {"cut_after": 100_000}, {"cut_after": 400_000}, {})
    result = flash(device, dataclasses.replace(plan, limit=RateLimit(4e6)))
    assert result.state == "flashed"
    assert result.connections == 3
    # What was in the pipes when the link was cut is sent again, and nothing else.
    assert result.sent_bytes < plan.payload.size + 2 * (1 << 20)
    assert [text.split(" (")[0] for _, text in told.notes if "cut" in text] == ["the link was cut"] * 2


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_link_that_is_cut_while_it_installs_is_opened_again_to_watch(fleet: Any, plan: Plan, step: str) -> None:
    device = fleet.device("thor", {"cut_at": step, "step_s": 0.02}, {"step_s": 0.02})
    result = flash(device, plan)
    assert (result.state, result.connections) == ("flashed", 2)
    assert fleet.log("thor")[-2:] == ["1 hello", "1 watch"]


def test_a_device_that_forgot_its_flash_is_asked_once_more(fleet: Any, plan: Plan) -> None:
    lost = {"cut_at": "compile", "forget": True}
    result = flash(fleet.device("thor", lost, {}), plan)
    assert (result.state, result.connections) == ("flashed", 2)
    assert fleet.log("thor")[-3:] == ["1 hello", "1 offer", "1 install"]
    result = flash(fleet.device("odin", lost), plan)
    assert (result.state, result.connections) == ("failed", 3)
    assert "forgot it each time" in result.message


@pytest.mark.parametrize("request_kind", ["hello", "offer", "data", "install"])
def test_a_refusal_ends_the_flash_with_the_devices_sentence(fleet: Any, plan: Plan, request_kind: str) -> None:
    device = fleet.device("thor", {"refuse": {request_kind: ["preflight", "PreflightError", "too hot: 91 C"]}})
    result = flash(device, plan)
    assert (result.state, result.message) == ("failed", "too hot: 91 C")
    assert (result.step, result.error, result.connections) == ("preflight", "PreflightError", 1)


def test_a_device_that_is_being_flashed_says_so(fleet: Any, plan: Plan) -> None:
    busy = {"refuse": {"install": ["receive", "DeviceBusyError", "it is being flashed already"]}}
    assert flash(fleet.device("thor", busy), plan).error == "DeviceBusyError"


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_flash_that_fails_ends_with_step_and_sentence(fleet: Any, plan: Plan, step: str) -> None:
    outcome = {"ok": False, "step": step, "message": "no", "error": "TrialError", "rolled_back": step == "trial"}
    result = flash(fleet.device("thor", {"outcome": outcome}), plan)
    assert (result.state, result.step, result.message) == ("failed", step, "no")
    assert result.rolled_back == (step == "trial")


@pytest.mark.parametrize("request_kind", ["hello", "offer", "data"])
def test_a_device_that_falls_silent_is_given_up(fleet: Any, plan: Plan, request_kind: str) -> None:
    device = fleet.device("thor", {"silent": request_kind})
    short = patient(plan, silence_s=0.3, answer_s=0.3, welcome_s=0.3 if request_kind == "hello" else 20.0, retries=1)
    result = flash(device, short)
    assert result.state == ("unreachable" if request_kind == "hello" else "failed")
    assert "it has said nothing for 0.3 s" in result.message
    assert result.connections == 2


def test_a_device_that_falls_silent_while_it_installs_is_asked_again_over_another_link(fleet: Any, plan: Plan) -> None:
    device = fleet.device("thor", {"hang_at": "compile"}, {})
    assert flash(device, patient(plan, install_silence_s=0.3)).state == "flashed"
    result = flash(fleet.device("odin", {"hang_at": "compile"}), patient(plan, install_silence_s=0.3, retries=1))
    assert (result.state, result.connections) == ("failed", 2)
    assert "it has said nothing for 0.3 s; it goes on by itself" in result.message


def test_a_greeting_of_the_login_shell_is_told_as_such(fleet: Any, plan: Plan) -> None:
    result = flash(fleet.device("thor", {"banner": "Welcome to thor!\n"}), plan)
    assert result.state == "unreachable"
    assert "Welcome to thor!" in result.message
    assert "login script" in result.message
    assert result.connections == 1


def test_another_protocol_is_told_with_both_versions(fleet: Any, plan: Plan) -> None:
    result = flash(fleet.device("thor", {"protocol": 7}), plan)
    assert "speaks flashing protocol 7" in result.message
    assert result.connections == 1


def test_an_object_that_arrives_altered_is_sent_again_once(fleet: Any, plan: Plan) -> None:
    assert flash(fleet.device("thor", {"damage": 1}), plan).state == "flashed"
    result = flash(fleet.device("odin", {"damage": 99}), plan)
    assert (result.state, result.error) == ("failed", "FileAlteredError")
    assert "arrived altered 2 times" in result.message


def test_a_file_that_is_cut_short_while_it_is_sent_is_named(fleet: Any, plan: Plan) -> None:
    path = plan.payload.folder / "bridge.onnx.data"
    path.write_bytes(path.read_bytes()[:-1])
    result = flash(fleet.device("thor"), plan)
    assert result.error == "FileAlteredError"
    assert "bridge.onnx.data was altered while it was sent" in result.message


def test_a_supervisor_that_is_not_up_yet_after_a_reboot_is_waited_for(fleet: Any, plan: Plan) -> None:
    down = {"refuse": {"watch": ["receive", "TransportError", "no supervisor runs"]}, "step_s": 0.02}
    device = fleet.device("thor", {"cut_at": "trial", "step_s": 0.02}, down, {"step_s": 0.02})
    result = flash(device, plan)
    assert (result.state, result.connections) == ("flashed", 3)


def test_a_device_that_forgot_and_has_no_supervisor_yet_is_waited_for_too(fleet: Any, plan: Plan) -> None:
    down = {"refuse": {"install": ["receive", "TransportError", "no supervisor runs"]}}
    device = fleet.device("thor", {"cut_at": "compile", "forget": True}, down, down, {})
    result = flash(device, plan)
    assert (result.state, result.connections) == ("flashed", 4)


def test_a_device_without_a_supervisor_is_not_waited_for_at_first(fleet: Any, plan: Plan) -> None:
    down = {"refuse": {"install": ["receive", "TransportError", "no supervisor runs"]}}
    result = flash(fleet.device("thor", down), plan)
    assert (result.state, result.message) == ("failed", "no supervisor runs")


def test_a_link_that_is_cut_again_and_again_ends_and_says_that_the_device_goes_on(fleet: Any, plan: Plan) -> None:
    device = fleet.device("thor", {"cut_at": "compile"})
    result = flash(device, plan)
    assert (result.state, result.connections) == ("failed", 1 + plan.patience.retries)
    assert "it goes on by itself: `st4vla devices` will show how it ended" in result.message


def test_a_missing_ssh_is_told_with_what_to_install(plan: Plan, fleet: Any) -> None:
    device = msgspec.structs.replace(fleet.device("thor"), ssh="/nowhere/ssh")
    result = flash(device, plan)
    assert result.state == "unreachable"
    assert "install openssh-client" in result.message
