from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from st4vla.export.quantization.emulation import GraphSession
from st4vla.export.quantization.observing import observe


def numpys_own(path: Path, names: list[str], runs: list[dict[str, Any]], tmp_path: Path) -> dict[str, list[np.ndarray]]:
    """Return what a graph's tensors were in each run."""
    model = onnx.load(path)
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    shown = tmp_path / "shown.onnx"
    onnx.save(model, shown)
    with GraphSession(shown) as session:
        answers = [session.run(feeds) for feeds in runs]
    return {name: [answer[name] for answer in answers] for name in names}


@pytest.fixture
def runs(golden: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the sampler's golden inputs, and others of which the second is the largest."""
    feeds = golden["sampler"][0]
    noise = np.random.default_rng(0).standard_normal(feeds["chunk"].shape).astype(np.float32)
    return [feeds, feeds | {"chunk": 3 * noise}, feeds | {"chunk": noise}]


def test_what_is_seen_are_numpys_own_maxima_over_all_runs(
    paths: dict[str, Path], runs: list[dict[str, Any]], tmp_path: Path
) -> None:
    seen = observe(paths["sampler"], iter(runs), tmp_path)
    modules = {"transformer.blocks.0.attn.qkv": "layer_norm", "transformer.blocks.1.mlp.fc2": "gelu_1"}
    tensors = [*modules.values(), "val_82", "add_3"]
    true = numpys_own(paths["sampler"], tensors, runs, tmp_path)
    for module, tensor in modules.items():
        rows = np.concatenate([each.reshape(-1, each.shape[-1]) for each in true[tensor]])
        found = seen.activations[module]
        np.testing.assert_allclose(found.largest, np.abs(rows).max(axis=0), rtol=1e-5)
        assert 24 <= len(found.rows) <= len(rows)
        assert found.rows.shape[1] == rows.shape[1]
        # Those that were kept are some of the true ones.
        distances = np.abs(found.rows[:, None] - rows[None]).max(axis=2).min(axis=1)
        assert distances.max() < 1e-5
    for tensor in tensors:
        assert seen.largest[tensor] == pytest.approx(max(np.abs(each).max() for each in true[tensor]), rel=1e-5)


def test_inputs_and_outputs_are_seen_too(
    paths: dict[str, Path], runs: list[dict[str, Any]], golden: dict[str, Any], tmp_path: Path
) -> None:
    seen = observe(paths["sampler"], runs[:1], tmp_path)
    assert seen.largest["chunk"] == np.abs(runs[0]["chunk"]).max()
    wanted = np.abs(golden["sampler"][1]["next_chunk"]).max()
    assert seen.largest["next_chunk"] == pytest.approx(wanted, rel=1e-4)
    assert not {"timestep", "views", "token_ids"} & set(seen.largest)


def test_products_that_read_the_same_share_what_was_seen(
    paths: dict[str, Path], golden: dict[str, Any], tmp_path: Path
) -> None:
    seen = observe(paths["planner"], [golden["planner"][0]], tmp_path).activations
    query, key = (seen[f"layers.0.self_attn.{name}_proj"] for name in "qk")
    assert query is key
    assert seen["layers.0.mlp.gate_proj"] is not query


def test_a_tensor_that_is_not_a_number_is_seen(trial: Callable[..., Any], tmp_path: Path) -> None:
    made, (x,) = trial(x=(1, 4))
    product = made.node("MatMul", [x, made.weight("a.0.weight", np.eye(4))], "a.0/MatMul", (1, 4))
    made.output(made.node("Log", [product], "a.0/Log", (1, 4)))
    path = made.save(tmp_path / "trial.onnx")
    seen = observe(path, [{"x": np.zeros((1, 4), np.float32)}, {"x": np.ones((1, 4), np.float32)}], tmp_path)
    assert seen.largest["a.0.Log"] == np.inf
