"""Tests of what measures memory; what it measures takes minutes and gigabytes, and is in docs/results."""

import json
from pathlib import Path
from unittest import mock

import pytest

from st4vla.benchmarks.memory import planners
from st4vla.benchmarks.memory.child import Peak, watch
from st4vla.benchmarks.memory.growth import fit_line
from st4vla.benchmarks.memory.planners import Depth, Measured
from st4vla.contracts.command_line import main
from st4vla.contracts.errors import St4vlaError

MIB = 2**20


def test_a_program_is_seen_at_its_peak() -> None:
    held = watch(["-c", f"import time; x = b'x' * {200 * MIB}; time.sleep(0.3); del x; time.sleep(0.1)"])
    assert 200 * MIB < held.anonymous <= held.resident < 300 * MIB


def test_a_program_that_fails_is_told_by_its_last_words() -> None:
    with pytest.raises(St4vlaError, match=r"ended with status 3: that was it"):
        watch(["-c", "print('that was it'); raise SystemExit(3)"])


def test_a_line_goes_through_points_and_says_how_far_they_are_from_it() -> None:
    line = fit_line([100, 200, 300], [250, 450, 650])
    assert (line.slope, line.constant, line.at(1000)) == pytest.approx((2, 50, 2050))
    assert line.largest_residual == pytest.approx(0, abs=1e-9)
    assert fit_line([0, 1, 2], [0, 3, 0]).largest_residual == pytest.approx(2)


def test_the_command_draws_the_line_to_the_whole_preset_and_leaves_a_receipt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(preset: str, depth: Depth, dtype: str, work: Path) -> Measured:
        assert (preset, dtype, work.parent) == ("tiny", "bfloat16", tmp_path)
        weights = depth.language * 1000
        return Measured(depth, weights, Peak(500 + 2 * weights, 100 + weights, 1.0))

    with (
        mock.patch.object(planners, "exporting_nothing", return_value=Peak(500, 100, 1.0)),
        mock.patch.object(planners, "measure_export", measured),
    ):
        options = ["--preset", "tiny", "--layers", "1", "2", "--dtype", "bfloat16", "--work", str(tmp_path)]
        assert main(["bench-memory", "export", *options, "--out", str(tmp_path / "receipt.json")]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["whole_preset"]["resident_over_weights"] == pytest.approx(2)
    assert result["whole_preset"]["anonymous_over_weights"] == pytest.approx(1)
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert [point["depth"]["language"] for point in receipt["points"]] == [1, 2]
    assert receipt["lines"]["resident"]["slope"] == pytest.approx(2)


def test_a_type_that_cannot_be_measured_is_refused_with_those_that_can(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench-memory", "compile", "--dtype", "bfloat16"]) == 2
    assert "--dtype bfloat16: compile can be measured for float32 and float16" in capsys.readouterr().err


def test_one_depth_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench-memory", "export", "--layers", "2", "2"]) == 2
    assert "--layers 2 2 --vision-layers 4: at least two different depths" in capsys.readouterr().err
