"""Tests of `st4vla train import`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.errors import ManifestError, UsageError
from st4vla.training.checkpoint import load_checkpoint
from st4vla.training.commands.train import COMMAND
from st4vla.training.published import load


def run(*arguments: object) -> Mapping[str, Any]:
    parser = argparse.ArgumentParser()
    COMMAND.configure(parser)
    return COMMAND.run(parser.parse_args([str(argument) for argument in arguments]))


def test_a_run_becomes_a_checkpoint_that_loads(
    small: Any, heads: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The command knows published widths only.
    real = load.load_published
    monkeypatch.setattr(load, "load_published", lambda *given, **options: real(*given, heads=heads, **options))
    result = run(
        "import", small.folder, "--out", tmp_path / "out", "--tokenizer", small.tokenizer,
        "--view", "front", "--view", "hand", "--action-hz", 10, "--embodiment", "franka",
    )  # fmt: skip
    manifest = load_checkpoint(tmp_path / "out").manifest
    assert [view.name for view in manifest.views] == ["front", "hand"]
    assert manifest.action.period_ns == 100_000_000
    assert result["weights"].endswith("steps_30000_pytorch_model.pt")
    assert (result["embodiments"], result["horizon"], result["action_dim"]) == (["franka"], 8, 7)
    assert result["dtypes"] == ["bfloat16"]
    stored = sum(value.numel() for name, value in small.weights.items() if not name.endswith("lm_head.weight"))
    assert result["parameters"] == stored


def test_widths_that_are_not_published_are_refused_before_anything_is_written(small: Any, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no multiple of 128"):
        run("import", small.folder, "--out", tmp_path / "out", "--tokenizer", small.tokenizer)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--action-hz", "0"], "--action-hz 0: must be positive"),
        (["--view", "wrist", "--view", "wrist"], "each camera has its own name"),
    ],
)
def test_impossible_options_are_refused(small: Any, tmp_path: Path, options: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        run("import", small.folder, "--out", tmp_path / "out", "--tokenizer", small.tokenizer, *options)


def test_a_run_that_is_no_folder_and_an_output_that_is_not_empty_are_refused(small: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a folder; name the folder of a run"):
        run("import", tmp_path / "none", "--out", tmp_path, "--tokenizer", small.tokenizer)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="--force"):
        run("import", small.folder, "--out", tmp_path, "--tokenizer", small.tokenizer)
