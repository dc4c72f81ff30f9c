"""Tests that the committed bundle is what the code makes today, and that it holds what it should."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.errors import UsageError
from st4vla.contracts.manifests import GRAPH_NAMES, Bundle
from st4vla.export.bundle import export_bundle
from st4vla.runtime.golden import load_golden, measure_parity
from st4vla.training.checkpoint import Checkpoint

COMMITTED = Path(__file__).parents[2] / "bundles" / "tiny"
BOUND = 1e-4


def outputs_of(bundle: Bundle, graph: str, feeds: dict[str, Any]) -> dict[str, Any]:
    spec = bundle.manifest.graphs[graph]
    session = onnxruntime.InferenceSession(str(bundle.path(spec.file)), providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in spec.outputs]
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_the_committed_graphs_compute_what_the_code_makes_today(rebuilt: Bundle, graph: str) -> None:
    committed = Bundle(COMMITTED)
    feeds, golden = load_golden(rebuilt, graph)
    ours = outputs_of(committed, graph, feeds)
    assert measure_parity(golden, ours).max_relative < BOUND
    assert measure_parity(outputs_of(rebuilt, graph, feeds), ours).max_relative < BOUND


@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_the_committed_golden_numbers_are_those_of_today(rebuilt: Bundle, graph: str) -> None:
    for today, kept in zip(load_golden(rebuilt, graph), load_golden(Bundle(COMMITTED), graph), strict=True):
        assert measure_parity(today, kept).max_relative < BOUND


def test_the_committed_manifest_and_tokenizer_are_those_of_today(rebuilt: Bundle) -> None:
    committed = Bundle(COMMITTED)
    blank = [
        msgspec.structs.replace(bundle.manifest, files=dict.fromkeys(bundle.manifest.files))
        for bundle in (committed, rebuilt)
    ]
    assert blank[0] == blank[1]
    assert committed.path("tokenizer.json").read_text() == rebuilt.path("tokenizer.json").read_text()


def test_the_committed_bundle_is_small_and_names_no_machine() -> None:
    assert sum(path.stat().st_size for path in COMMITTED.iterdir()) < 8_000_000
    for path in COMMITTED.glob("*.onnx"):
        data = path.read_bytes()
        assert b"stack_trace" not in data
        assert b"site-packages" not in data


def test_golden_actions_depend_on_what_is_seen(rebuilt: Bundle) -> None:
    feeds, golden = load_golden(rebuilt, "bridge")
    blind = outputs_of(rebuilt, "bridge", feeds | {"views": np.zeros_like(feeds["views"])})
    assert measure_parity(golden, blind).max_relative > 1e-3


def test_a_folder_of_somebody_else_is_left_alone(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(UsageError, match="holds something other than a bundle"):
        export_bundle(checkpoint, tmp_path, name="tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_embodiment_that_the_checkpoint_does_not_know_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'widowx': choose one of franka"):
        export_bundle(checkpoint, tmp_path / "out", name="tiny", embodiment="widowx")


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_name_that_the_wire_cannot_carry_is_refused(checkpoint: Checkpoint, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="1 to 64 bytes"):
        export_bundle(checkpoint, tmp_path / "out", name=name)


def test_a_checkpoint_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "is not there" in captured.err
