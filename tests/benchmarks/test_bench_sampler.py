"""Tests that the step graph and the unrolled one draw the same chunks, and that the command says what both cost."""

import json
from importlib import metadata
from pathlib import Path

import pytest

from st4vla.contracts.command_line import GROUP, main
from st4vla.training.checkpoint import init_checkpoint, save_checkpoint

ENTRY = metadata.EntryPoint("bench-sampler", "st4vla.benchmarks.commands.bench_sampler:COMMAND", GROUP)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda group: [ENTRY])


def test_both_graphs_draw_the_same_chunk_and_the_command_says_what_they_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "tiny", init_checkpoint("tiny", 0))
    out = tmp_path / "results" / "receipt.json"
    options = ["--steps", "2", "--repeats", "1", "--chunks", "2", "--out", str(out)]
    assert main(["bench-sampler", str(tmp_path / "tiny"), *options]) == 0
    printed = capsys.readouterr().out
    figures, receipt = json.loads(printed.splitlines()[-1]), json.loads(out.read_text())
    assert figures["difference"] < 1e-5
    assert (figures["preset"], figures["steps"]) == ("tiny", 2)
    step, unrolled = figures["step"], figures["unrolled"]
    assert step.keys() == unrolled.keys()
    for side in (step, unrolled):
        assert side["difference"] < 1e-5
        assert all(value > 0 for name, value in side.items() if name.endswith(("_s", "bytes")))
    assert 1.5 * step["nodes"] < unrolled["nodes"] < 2.5 * step["nodes"]
    # Steps share their weights in the file.
    assert step["onnx_bytes"] < unrolled["onnx_bytes"] < 1.5 * step["onnx_bytes"]
    assert figures["unrolled_over_step"].keys() == {"export", "optimise", "load", "chunk", "tensorrt_build"}
    assert "step graph" in printed
    assert receipt["command"].endswith("tiny --steps 2 --repeats 1 --chunks 2 --threads 1")
    assert len(receipt["costs"]["unrolled"]["chunk"]) == 2
    assert receipt["machine"]["processor"]


def test_a_number_of_steps_that_there_is_none_of_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench-sampler", "none", "--steps", "30"]) == 2
    assert "--steps: no whole stride gives 30 steps" in capsys.readouterr().err
