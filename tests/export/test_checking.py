"""Tests of `st4vla check` as a whole."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.manifests import Bundle
from st4vla.export.checking import check_bundle
from st4vla.export.memory_plan import SYSTEM_BYTES
from st4vla.export.targets import TARGETS

TINY = Path(__file__).parents[2] / "bundles" / "tiny"


def test_a_bundle_that_fits_is_compiled_for_the_nearest_gpu() -> None:
    lines: list[str] = []
    verdict = check_bundle(Bundle(TINY), TARGETS["orin-nx-16"], report=lines.append)
    assert verdict.problems == []
    assert list(verdict.built) == ["planner", "bridge", "sampler"]
    assert [line.partition(":")[0] for line in lines] == list(verdict.built)
    assert all("compiled for SM86" in line for line in lines)


def test_a_bundle_that_does_not_fit_is_refused_before_anything_is_compiled() -> None:
    small = dataclasses.replace(TARGETS["orin-nano-8"], memory_bytes=SYSTEM_BYTES + 2**20)
    verdict = check_bundle(Bundle(TINY), small)
    (problem,) = verdict.problems
    assert "MiB are missing on Jetson Orin Nano 8 GB; no precision makes it fit" in problem
    assert verdict.built == {}


def test_the_command_says_what_it_modelled(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["check", str(TINY), "--target", "thor", "--no-build"]) == 0
    out = capsys.readouterr().out
    assert "memory on Jetson Thor T5000, modelled" in out
    result = json.loads(out.splitlines()[-1])
    assert result["memory_bytes"]["measured"] is False
    assert result["compiled"] == {}
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert main(["check", str(TINY), "--target", "thor"]) == 1
    assert "pip install 'st4vla[rtx]'" in capsys.readouterr().err


def test_an_unknown_device_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(TINY), "--target", "nano"]) == 2
    assert "unknown target 'nano'; known are orin-agx-64" in capsys.readouterr().err
