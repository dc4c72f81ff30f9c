"""`st4vla-bridge check` on this machine, whatever it is like."""

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]
CHECKS = ["wakeups", "kernel", "governor", "priority", "memory", "network"]


def test_the_verdict_of_each_check_is_a_line_and_the_last_line_is_json(run: Run) -> None:
    ended = run("check", "--seconds", "0.4", "--robot", "127.0.0.1", "--camera", "127.0.0.2")
    line = ended.line
    assert list(line["checks"]) == CHECKS
    lines = ended.out.splitlines()
    for name, check in line["checks"].items():
        assert check["verdict"] in ("ok", "warning", "failure", "unknown")
        assert any(text.startswith(check["verdict"]) and f" {name} " in text for text in lines)
        assert check["verdict"] == "ok" or check["remedy"] or name == "governor"
    late = line["late_us"]
    assert late["count"] + late["missed"] >= 400
    assert 0 < late["p50"] <= late["p99.9"] <= late["max"]
    # A robot and a camera behind one card are a failure, and the status says so.
    assert line["checks"]["network"]["verdict"] == "failure"
    assert line["ok"] is False
    assert ended.status == 1


def test_what_is_not_an_address_is_refused_before_anything_is_measured(run: Run) -> None:
    ended = run("check", "--seconds", "60", "--robot", "franka.local", "--camera", "127.0.0.1")
    assert ended.status == 1
    assert "'franka.local' is no address" in ended.err
