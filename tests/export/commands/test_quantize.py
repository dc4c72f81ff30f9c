"""Tests that the command says in one line what it cannot do."""

import json
from pathlib import Path

import pytest

from st4vla.contracts.command_line import main
from st4vla.training.checkpoint import Checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def saved(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    save_checkpoint(folder, checkpoint)
    return str(folder)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return the status and the only line of the error stream."""
    status = main(["quantize", *arguments])
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert json.loads(captured.out.splitlines()[-1])["ok"] is False
    return status, captured.err


def test_an_unknown_kind_of_engine_is_answered_with_the_known_ones(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [saved, "--out", str(tmp_path / "out"), "--data", str(tmp_path)]
    status, line = refusal(capsys, *given, "--for", "gpu")
    assert status == 2
    assert "unknown kind of engine 'gpu'; known are tensorrt, cpu" in line


@pytest.mark.parametrize(
    ("graph", "form", "known"), [("planner", "tensorrt", "int4, int8, half"), ("sampler", "cpu", "int8_dynamic")]
)
def test_an_unknown_precision_is_answered_with_the_known_ones(  # noqa: PLR0917
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], graph: str, form: str, known: str
) -> None:
    given = [saved, "--out", str(tmp_path / "out"), "--data", str(tmp_path), "--for", form]
    status, line = refusal(capsys, *given, f"--{graph}", "int2")
    assert status == 2
    assert f"'int2' is not a precision of {form}; choose one of {known}" in line


def test_a_data_set_that_is_not_there_is_named(saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none"
    status, line = refusal(capsys, saved, "--out", str(tmp_path / "out"), "--data", str(missing))
    assert status == 1
    assert str(missing) in line
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--data", str(tmp_path)]
    status, line = refusal(capsys, *given)
    assert status == 1
    assert "is not there" in line


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--frames", "-1"),
        ("--calibration-frames", "0"),
        ("--boxes", "-3"),
        ("--min-cosine", "-0.5"),
        ("--max-joint-error", "0"),
        ("--seed", "-1"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    given = [str(tmp_path), "--out", str(tmp_path / "out"), "--data", str(tmp_path), option, value]
    status, line = refusal(capsys, *given)
    assert status == 2
    assert f"{option} {value}" in line
