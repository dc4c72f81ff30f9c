import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from st4vla.benchmarks.whole_way import kills, run
from st4vla.contracts.command_line import main

PROGRAM = "from st4vla.contracts.command_line import main; raise SystemExit(main())"
DRIVE = {"ended": "at_rest", "why": "", "missed": 0, "cycles": 60_000, "chunks_executed": 1000, "stops": 3}
ARM = {"errors": [], "lost_commands": 0}


def figures(**changes: Any) -> dict[str, Any]:
    drive = DRIVE | {"tracking_error_mm": {"max": 0.4}} | changes.pop("drive", {})
    return {"drive": drive, "virtual_franka": ARM, "path_share_of_limits": {"translation_jerk": 0.2}} | changes


def test_a_run_that_keeps_all_its_bounds_misses_none() -> None:
    assert run.missed(figures(), 60.0) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"drive": {"ended": "robot", "why": "a reflex"}}, "a reflex"),
        ({"drive": {"missed": 1}}, "1 commands were missed"),
        ({"drive": {"cycles": 50_000}}, "50000 cycles"),
        ({"drive": {"chunks_executed": 3}}, "only 3 chunks"),
        ({"drive": {"tracking_error_mm": {"max": 7.0}}}, "7.0 mm off"),
        ({"virtual_franka": ARM | {"errors": ["joint_reflex"]}}, "joint_reflex"),
        ({"virtual_franka": ARM | {"lost_commands": 2}}, "2 times without"),
        ({"path_share_of_limits": {"rotation_jerk": 1.1}}, "exceeds its limits"),
    ],
)
def test_each_bound_that_is_missed_is_named(changes: dict[str, Any], said: str) -> None:
    (missed,) = run.missed(figures(**changes), 60.0)
    assert said in missed


def kill_figures(**changes: Any) -> dict[str, Any]:
    kept = {"kills": 3, "moving_when_killed": 3, "stayed_at_rest": 3, "rest_ms": {"max": 300.0}, "bound_ms": 700.0}
    return figures() | kept | changes


def test_kills_are_judged_by_rest_by_staying_and_by_having_moved() -> None:
    assert kills.missed(kill_figures()) == []
    assert "rest after 800.0 ms" in kills.missed(kill_figures(rest_ms={"max": 800.0}))[0]
    assert "moved by itself" in kills.missed(kill_figures(stayed_at_rest=2))[0]
    assert "only 1 kills in mid-motion" in kills.missed(kill_figures(moving_when_killed=1))[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--cpu", "0", "--apart"), "exclude each other"), (("--cpu", "4096"), "this process may run on")],
)
def test_cores_that_cannot_be_are_refused_in_words(
    options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["whole-way", *options]) != 0
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--seconds", "30"), ("--kills", "5")], ids=["half_a_minute", "kills"])
def test_the_whole_way_is_gone_without_a_reflex(options: tuple[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "whole-way", *options, "--out", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = json.loads(ended.stdout.splitlines()[-1])
    # A machine that stands still for some milliseconds misses commands; the arm must not stop for it.
    assert (found["drive"]["ended"], found["virtual_franka"]["errors"]) == ("at_rest", []), ended.stdout
    assert max(found.get("path_share_of_limits", {"none": 0.0}).values()) <= 1.0
    assert found["drive"]["chunks_executed"] > 10
