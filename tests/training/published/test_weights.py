"""Tests of looking into published weights."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from st4vla.contracts.errors import FileMissingError, ManifestError
from st4vla.training.published.weights import WeightInfo, open_weights

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3).bfloat16(), "b": torch.ones(4), "c": torch.zeros(1, dtype=torch.half)}


class Code:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("form", ["pt", "safetensors", "sharded"])
def test_names_shapes_dtypes_and_values_are_those_that_were_written(
    tmp_path: Path, write: Callable[..., Path], form: str
) -> None:
    store = open_weights(write(tmp_path, WEIGHTS, form))
    assert dict(store.infos) == {name: WeightInfo(tuple(t.shape), t.dtype) for name, t in WEIGHTS.items()}
    assert all(torch.equal(store.read(name), tensor) for name, tensor in WEIGHTS.items())


def test_shards_are_found_through_their_index_or_without_one(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(tmp_path, WEIGHTS, "sharded")
    index = tmp_path / "model.safetensors.index.json"
    assert set(open_weights(index).infos) == set(WEIGHTS)
    index.unlink()
    assert set(open_weights(tmp_path).infos) == set(WEIGHTS)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match=r"steps\.pt is not there"):
        open_weights(tmp_path / "steps.pt")


def test_a_missing_shard_is_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(tmp_path, WEIGHTS, "sharded")
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(FileMissingError, match=r"model-1\.safetensors"):
        open_weights(tmp_path)


def test_a_shard_without_a_tensor_of_the_index_is_refused(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(tmp_path, WEIGHTS, "sharded")
    save_file({"other": torch.ones(1)}, tmp_path / "model-1.safetensors")
    with pytest.raises(ManifestError, match="1 tensors that no shard holds: b"):
        open_weights(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{}", "weight_map"), ("[", "weight_map"), ('{"weight_map": {"a": "../a.safetensors"}}', "not beside it")],
)
def test_an_index_that_is_none_or_leads_elsewhere_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    with pytest.raises(ManifestError, match=problem):
        open_weights(path)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    for name in ("x", "y"):
        save_file(WEIGHTS, tmp_path / f"{name}.safetensors")
    with pytest.raises(ManifestError, match=r"both in .*x\.safetensors and in .*y\.safetensors"):
        open_weights(tmp_path)


def test_a_folder_without_weights_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="not a checkpoint"):
        open_weights(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ManifestError, match="not a checkpoint by its name"):
        open_weights(tmp_path / "notes.txt")


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(1), "b": Code()}, "code.pt")
    with pytest.raises(ManifestError, match=r"holds code \(posix\.mkdir\) and is not loaded"):
        open_weights(Path("code.pt"))
    Path("bare.pt").write_bytes(pickle.dumps(Code()))
    with pytest.raises(ManifestError, match=r"not an archive of torch\.save"):
        open_weights(Path("bare.pt"))
    assert not Path("ran").exists()


@pytest.mark.parametrize("table", [[torch.ones(1)], {"model": {"a": torch.ones(1)}}, {"a": torch.ones(1), "step": 3}])
def test_a_pickle_of_anything_but_a_flat_table_is_refused(tmp_path: Path, table: object) -> None:
    torch.save(table, tmp_path / "x.pt")
    with pytest.raises(ManifestError, match="not a flat table of tensors"):
        open_weights(tmp_path / "x.pt")


@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, write: Callable[..., Path], form: str) -> None:
    path = write(tmp_path, {"a": torch.ones(1000)}, form)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ManifestError, match=r"cut short|corrupt"):
        open_weights(path)


def test_an_archive_that_torch_did_not_write_is_refused(tmp_path: Path) -> None:
    import zipfile  # noqa: PLC0415

    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/readme.txt", "hello")
    with pytest.raises(ManifestError, match="is corrupt"):
        open_weights(tmp_path / "x.pt")
