"""Tests of many devices: canaries, failure budget, stop; the devices follow scripts."""

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from st4vla.export.flashing.inventory import Device
from st4vla.export.flashing.results import Result
from st4vla.export.flashing.session import Plan
from st4vla.export.flashing.shares import read_share
from st4vla.export.flashing.waves import Rollout, Waves

FAILS = {"outcome": {"ok": False, "step": "trial", "message": "slow", "error": "TrialError", "rolled_back": True}}
AWAY = {"exit": 255, "stderr": "ssh: connect to host thor port 22: Connection refused"}


def run(
    devices: Sequence[Device], plan: Plan, *, parallel: int = 4, canary: str = "1", budget: str = "0"
) -> dict[str, Result]:
    rollout = Rollout(parallel, read_share(canary, "--canary"), read_share(budget, "--failure-budget"))

    async def flash() -> list[Result]:
        return await Waves(devices, plan, rollout).run(asyncio.to_thread(plan.payload.verify))

    return {result.device: result for result in asyncio.run(flash())}


def states(results: dict[str, Result]) -> list[str]:
    return sorted(result.state for result in results.values())


def test_all_devices_are_flashed_canaries_first_and_so_many_at_a_time(fleet: Any, plan: Plan, told: Any) -> None:
    devices = [fleet.device(f"d{number}", canary=number == 5) for number in range(6)]
    results = run(devices, plan, parallel=2)
    assert states(results) == ["flashed"] * 6
    assert told.said[0] == "canaries: d5"
    assert told.said[1].startswith("other devices: d")
    assert told.ended[0].device == "d5"
    assert told.most_running == 2
    # The canary's first link is used; the others' turn might have been hours away.
    assert results["d5"].connections == 1
    assert {results[f"d{number}"].connections for number in range(5)} == {2}


def test_a_canary_that_fails_stops_all_others(fleet: Any, plan: Plan, told: Any) -> None:
    devices = [fleet.device(f"d{number}", *([FAILS] if number == 2 else []), canary=number == 2) for number in range(4)]
    results = run(devices, plan, budget="100%")
    assert states(results) == ["failed", "not started", "not started", "not started"]
    assert results["d2"].rolled_back
    assert told.said[-1] == "no further device is begun: 1 of the canaries failed, 0 may"
    assert "1 of the canaries failed" in results["d0"].message
    assert fleet.log("d0") == ["0 hello"]


def test_nothing_is_said_of_further_devices_when_there_are_none(fleet: Any, plan: Plan, told: Any) -> None:
    assert states(run([fleet.device("thor", FAILS)], plan)) == ["failed"]
    assert told.said == ["devices: thor"]


def test_each_kind_of_machine_has_a_canary(fleet: Any, plan: Plan, told: Any) -> None:
    devices = [fleet.device(f"d{number}") for number in range(3)]
    devices.append(fleet.device("odd", {"machine": {"jetpack": "35.1"}, **FAILS}))
    results = run(devices, plan)
    assert results["odd"].state == "failed"
    assert states(results).count("not started") == 2
    assert "odd" in told.said[0]


def test_failures_beyond_the_budget_stop_those_that_wait(fleet: Any, plan: Plan, told: Any) -> None:
    good = fleet.device("good", canary=True)
    bad = [fleet.device(f"d{number}", FAILS) for number in range(6)]
    results = run([good, *bad], plan, parallel=1, budget="2")
    assert states(results) == ["failed"] * 3 + ["flashed"] + ["not started"] * 3
    assert told.said[-1] == "no further device is begun: 3 of the other devices failed, 2 may"


def test_devices_that_cannot_be_reached_count_as_failures(fleet: Any, plan: Plan, told: Any) -> None:
    devices = [fleet.device("away", AWAY), *(fleet.device(f"d{number}") for number in range(3))]
    results = run(devices, plan, budget="1")
    assert states(results) == ["flashed"] * 3 + ["unreachable"]
    assert results["away"].error == "LinkError"
    assert "nothing listens for SSH there" in results["away"].message


def test_nothing_is_flashed_when_too_many_cannot_be_reached(fleet: Any, plan: Plan, told: Any) -> None:
    devices = [*(fleet.device(f"away{number}", AWAY) for number in range(2)), fleet.device("good")]
    results = run(devices, plan, budget="10%")
    assert states(results) == ["not started", "unreachable", "unreachable"]
    assert "2 of 3 devices cannot be reached; --failure-budget 10% allows 0" in results["good"].message
    assert fleet.log("good") == ["0 hello"]


def test_a_marked_canary_that_cannot_be_reached_stops_all_others(fleet: Any, plan: Plan) -> None:
    devices = [fleet.device("away", AWAY, canary=True), *(fleet.device(f"d{number}") for number in range(3))]
    assert states(run(devices, plan, budget="50%")) == ["not started"] * 3 + ["unreachable"]


def test_an_altered_file_is_found_before_anything_travels(fleet: Any, plan: Plan) -> None:
    path = plan.payload.folder / "sampler.onnx.data"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(Exception, match=r"sampler\.onnx\.data was altered"):
        run([fleet.device("thor")], plan)
    assert "0 offer" not in fleet.log("thor")


def test_a_stop_lets_those_that_run_come_to_their_end(fleet: Any, plan: Plan, told: Any) -> None:
    devices = [fleet.device(f"d{number}", {"step_s": 0.03}, canary=number < 2) for number in range(5)]
    waves = Waves(devices, plan, Rollout(1, read_share("1", ""), read_share("0", "")))
    told.on_begin = lambda _: waves.stop("interrupted")
    results = asyncio.run(waves.run(asyncio.sleep(0)))
    assert sorted(result.state for result in results) == ["flashed"] + ["not started"] * 4


def test_leaving_waits_for_nobody_and_the_devices_go_on(fleet: Any, plan: Plan) -> None:
    devices = [fleet.device("thor", {"step_s": 0.1}, {"step_s": 0.1})]

    async def run() -> list[Result]:
        waves = Waves(devices, plan, Rollout(1, read_share("1", ""), read_share("0", "")))
        running = asyncio.ensure_future(waves.run(asyncio.sleep(0)))
        while not (fleet.folder / "thor" / "flash.json").exists():
            await asyncio.sleep(0.01)
        waves.leave()
        return await running

    (result,) = asyncio.run(run())
    assert (result.state, result.ok) == ("left", False)
    assert "it goes on by itself" in result.message


def test_a_fleet_shares_one_rate(fleet: Any, plan: Plan) -> None:
    devices = [fleet.device(f"d{number}") for number in range(3)]
    limited = dataclasses.replace(plan, limit=type(plan.limit)(2.5e6))

    async def flash() -> float:
        begin_s = asyncio.get_running_loop().time()
        results = await Waves(devices, limited, Rollout(3, read_share("100%", ""), read_share("0", ""))).run(
            asyncio.sleep(0)
        )
        assert all(result.ok for result in results)
        return asyncio.get_running_loop().time() - begin_s

    assert asyncio.run(flash()) > 3 * plan.payload.size / 2.5e6 * 0.9
