"""Tests of checkpoints on disk and of the command that begins one."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from st4vla.contracts.errors import FileAlteredError, ManifestError, UsageError
from st4vla.contracts.files import read_manifest, write_manifest
from st4vla.contracts.manifests import CheckpointManifest
from st4vla.training.checkpoint import init_checkpoint, load_checkpoint, save_checkpoint
from st4vla.training.commands.train import COMMAND


def run(*arguments: object) -> Mapping[str, Any]:
    parser = argparse.ArgumentParser()
    COMMAND.configure(parser)
    return COMMAND.run(parser.parse_args([str(argument) for argument in arguments]))


def test_a_saved_checkpoint_loads_as_it_was(tmp_path: Path) -> None:
    checkpoint = init_checkpoint("tiny", 3)
    manifest = save_checkpoint(tmp_path, checkpoint)
    loaded = load_checkpoint(tmp_path)
    assert loaded.manifest == manifest
    assert loaded.tokenizer.to_str() == checkpoint.tokenizer.to_str()
    expected = checkpoint.policy.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.policy.state_dict().items())


def test_weights_are_loaded_in_the_type_that_is_asked_for(tmp_path: Path) -> None:
    checkpoint = init_checkpoint("tiny", 3)
    expected = {name: value.clone() for name, value in checkpoint.policy.bfloat16().state_dict().items()}
    save_checkpoint(tmp_path, checkpoint)
    for dtype in (torch.float32, torch.bfloat16):
        loaded = load_checkpoint(tmp_path, dtype).policy
        assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
        assert all(torch.equal(value, expected[name].to(dtype)) for name, value in loaded.state_dict().items())


def test_init_writes_a_whole_checkpoint_and_reports_its_size(tmp_path: Path) -> None:
    result = run("init", "--preset", "tiny", "--seed", 0, "--out", tmp_path / "tiny")
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == [
        "checkpoint.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert result["preset"] == "tiny"
    assert result["parameters"] > 100_000


def test_an_altered_weight_file_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, init_checkpoint("tiny", 0))
    with (tmp_path / "model.safetensors").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(FileAlteredError, match=r"model\.safetensors"):
        load_checkpoint(tmp_path)


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    manifest = save_checkpoint(tmp_path, init_checkpoint("tiny", 0))
    path = tmp_path / "checkpoint.json"
    model = msgspec.structs.replace(manifest.model, head=msgspec.structs.replace(manifest.model.head, depth=3))
    write_manifest(path, msgspec.structs.replace(read_manifest(path, CheckpointManifest, 1), model=model))
    with pytest.raises(ManifestError, match="missing"):
        load_checkpoint(tmp_path)


def test_an_unknown_preset_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="known are base, small, tabletop, tiny"):
        run("init", "--preset", "huge", "--out", tmp_path)


def test_a_preset_of_published_weights_cannot_be_initialised(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="published weights"):
        run("init", "--preset", "base", "--out", tmp_path)


def test_a_folder_that_is_not_empty_is_only_overwritten_by_force(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        run("init", "--out", tmp_path)
    assert run("init", "--out", tmp_path, "--force")["checkpoint"] == str(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(UsageError, match="is a file"):
        run("init", "--out", path)
