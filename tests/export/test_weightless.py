"""Tests of presets without training: their graphs counted without weights, and built at full width."""

import json
from pathlib import Path
from unittest import mock

import msgspec
import onnx
import pytest
import tensorrt_rtx

from st4vla.contracts.command_line import main
from st4vla.contracts.manifests import GRAPH_NAMES, Bundle
from st4vla.export import checking
from st4vla.export.checking import preset_memory
from st4vla.export.graph_memory import EXPORTED, PRECISIONS, GraphMemory, Need, graph_memory
from st4vla.export.random_checkpoint import count_weights, export_random_planner, write_random_checkpoint
from st4vla.export.weightless import prompt_head, shortened, untrained_tokenizer
from st4vla.runtime.engines.tensorrt_build import build_engine
from st4vla.training.checkpoint import Checkpoint, load_checkpoint
from st4vla.training.model.planner import QWEN_VOCABULARY
from st4vla.training.presets import Preset, get_preset


def test_a_preset_is_counted_as_the_bundle_that_is_exported_from_it(rebuilt: Bundle) -> None:
    planned = preset_memory("tiny")
    assert [graph.name for graph in planned] == list(GRAPH_NAMES)
    for graph in planned:
        model = onnx.load(rebuilt.path(f"{graph.name}.onnx"), load_external_data=False)
        exported = graph_memory(graph.name, model, rebuilt.manifest.sizes)
        for precision in (EXPORTED, *PRECISIONS):
            ours, theirs = graph.in_precision(precision), exported.in_precision(precision)
            assert ours.activations == theirs.activations
            # Biases of an untrained policy are all zero, and one constant.
            assert ours.weights == pytest.approx(theirs.weights, rel=0.03)


def test_the_command_says_which_devices_hold_a_preset_in_which_precision(capsys: pytest.CaptureFixture[str]) -> None:
    billion = 10**9
    sizes = {"exported": 16 * billion, "float16": 8 * billion, "int8": 4 * billion, "int4": 2 * billion}
    graph = GraphMemory("planner", {name: Need(size, 0) for name, size in sizes.items()})
    with mock.patch.object(checking, "preset_memory", return_value=(graph,)):
        assert main(["check", "--preset", "base"]) == 0
        out = capsys.readouterr().out
        assert main(["check", "--preset", "base", "--target", "orin-nx-16"]) == 0
        one = capsys.readouterr().out
    assert "Jetson Orin Nano 8 GB" in out
    result = json.loads(out.splitlines()[-1])
    assert result["fits"]["thor"] == ["float32", "float16", "int8", "int4"]
    assert result["fits"]["orin-nano-8"] == ["int4"]
    assert result["memory_bytes"]["measured"] is False
    assert list(json.loads(one.splitlines()[-1])["fits"]) == ["orin-nx-16"]
    assert "Jetson Orin Nano 8 GB" not in one


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither given: name the folder of a bundle, or a preset with --preset"),
        (["some", "--preset", "tiny"], "both some and --preset tiny given"),
        (["some"], "no device given: name one with --target, of orin-agx-64"),
        (["--preset", "huge"], "unknown preset 'huge'; known are base"),
    ],
)
def test_a_wrong_command_line_is_answered_with_a_right_one(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_built_in_tokenizer_puts_special_tokens_where_qwen_has_them(checkpoint: Checkpoint) -> None:
    assert untrained_tokenizer(QWEN_VOCABULARY).encode("<|im_start|>user<|image_pad|>").ids[::2] == [151_644, 151_655]
    tiny = get_preset("tiny")
    assert prompt_head(tiny) == checkpoint.tokenizer.encode(tiny.prompt.head).ids


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_random_checkpoint_is_one_that_can_be_loaded(tmp_path: Path, dtype: str) -> None:
    write_random_checkpoint(tmp_path, "tiny", get_preset("tiny"), dtype)
    policy = load_checkpoint(tmp_path).policy
    assert {str(weight.dtype) for weight in policy.parameters()} == {f"torch.{dtype}"}
    assert sum(weight.numel() for weight in policy.parameters()) == count_weights("tiny")
    assert 0.015 < float(policy.dino_pro.weight.detach().float().std()) < 0.025


def small_but_wide() -> Preset:
    """Return `base` with one layer in each half of the planner, at full width, and little else."""
    preset, replace = shortened("base", 1, 1), msgspec.structs.replace
    model = preset.model
    small = replace(
        model,
        planner=replace(model.planner, vocabulary=512),
        encoder=replace(model.encoder, depth=1),
        head=replace(model.head, depth=2),
    )
    return replace(preset, model=small)


def test_a_block_of_the_planner_at_full_width_compiles_for_the_gpu_nearest_to_orin(tmp_path: Path) -> None:
    path, tensors = export_random_planner(tmp_path, "base", small_but_wide(), "float16")
    engine = build_engine(tensorrt_rtx, path, tensors, compute_capability="SM86")
    assert engine.nbytes > 250_000_000
