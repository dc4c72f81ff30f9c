"""Tests of loading a whole published run: synthetic weights under all published names, at small widths."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from st4vla.contracts.errors import FileMissingError, ManifestError, UsageError
from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.model_config import (
    BridgeConfig,
    EncoderConfig,
    HeadConfig,
    ModelConfig,
    PlannerConfig,
    SamplerConfig,
    VisionConfig,
)
from st4vla.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from st4vla.training.policy import St4vlaPolicy
from st4vla.training.published.load import find_weights, load_published

Q = "qwen_vl_interface.model."
TIED, EMBEDDING = f"{Q}lm_head.weight", f"{Q}model.language_model.embed_tokens.weight"
SMALL = ModelConfig(
    planner=PlannerConfig(
        dim=64,
        depth=36,
        num_heads=4,
        num_kv_heads=2,
        mlp_dim=96,
        vocabulary=512,
        mrope_section=(2, 3, 3),
        vision=VisionConfig(dim=32, depth=32, num_heads=2, mlp_dim=48, full_attention_blocks=(7, 15, 23, 31)),
    ),
    encoder=EncoderConfig(dim=32, depth=24, num_heads=2),
    bridge=BridgeConfig(dim=32, num_queries=8, start_layer=36, end_layer=37),
    head=HeadConfig(depth=12, num_heads=4),
)


@pytest.fixture
def load(small: Any, heads: Any) -> Callable[..., Checkpoint]:
    def load(folder: Path = small.folder, **options: Any) -> Checkpoint:
        return load_published(folder, **{"tokenizer": small.tokenizer, "heads": heads} | options)

    return load


@pytest.fixture
def run(small: Any, tmp_path: Path) -> Path:
    """A run's folder of one's own, without weights."""
    for name in ("config.yaml", "dataset_statistics.json"):
        shutil.copy(small.folder / name, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="module")
def plain(small: Any) -> St4vlaPolicy:
    """The same weights, loaded by PyTorch into a policy that was constructed normally."""
    policy = St4vlaPolicy(SMALL, 7, 8, SamplerConfig())
    policy.load_state_dict(small.weights, strict=True)
    return policy.eval()


@torch.no_grad()
def act(policy: St4vlaPolicy, checkpoint: Checkpoint) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    views = torch.randint(0, 256, (1, 2, 224, 224, 3), dtype=torch.uint8, generator=generator)
    ids = checkpoint.tokenizer.encode(checkpoint.manifest.prompt.render("pick up the red cube")).ids
    return policy.act(views, torch.tensor([ids]), torch.randn(1, 8, 7, generator=generator))


@pytest.mark.parametrize("old_names", [False, True])
@pytest.mark.parametrize("form", ["pt", "safetensors", "sharded"])
def test_every_form_and_naming_gives_the_written_values_in_their_own_dtype(  # noqa: PLR0917 - fixtures
    load: Callable[..., Checkpoint],
    small: Any,
    tmp_path: Path,
    write: Callable[..., Path],
    shapes_of: Callable[..., Any],
    widths: Any,
    form: str,
    old_names: bool,
) -> None:
    renamed = list(shapes_of(widths, old_names=old_names))
    weights = dict(zip(renamed, small.weights.values(), strict=True))
    checkpoint = load(weights=write(tmp_path, weights, form))
    state = checkpoint.policy.state_dict()
    assert state.keys() == small.weights.keys()
    assert all(value.dtype == torch.bfloat16 for value in state.values())
    assert all(torch.equal(value, small.weights[name]) for name, value in state.items())


def test_the_loaded_policy_computes_what_a_plain_one_computes(
    load: Callable[..., Checkpoint], plain: St4vlaPolicy
) -> None:
    checkpoint = load()
    policy = checkpoint.policy
    assert checkpoint.manifest.model == SMALL
    assert not policy.training
    # Weights are exact in float32, so the comparison is exact as well.
    actual, expected = act(policy.float(), checkpoint), act(plain, checkpoint)
    assert actual.shape == (1, 8, 7)
    assert actual.isfinite().all()
    assert torch.equal(actual, expected)


def test_buffers_gradient_flags_and_the_tie_are_those_of_a_plain_policy(
    load: Callable[..., Checkpoint], plain: St4vlaPolicy
) -> None:
    policy = load().policy
    buffers, flags = dict(policy.named_buffers()), {n: p.requires_grad for n, p in policy.named_parameters()}
    assert len(buffers) == 1 + 1 + 36
    assert buffers.keys() == dict(plain.named_buffers()).keys()
    assert all(torch.equal(value, buffers[name]) for name, value in plain.named_buffers())
    assert flags == {n: p.requires_grad for n, p in plain.named_parameters()}
    assert not flags["action_model.net.history_embedder.linear.weight"]
    assert policy.get_parameter(TIED) is policy.get_parameter(EMBEDDING)
    for module in policy.modules():
        assert not any(isinstance(value, Tensor) and value.is_meta for value in vars(module).values())


def test_the_manifest_says_what_the_run_s_files_say(load: Callable[..., Checkpoint]) -> None:
    manifest = load().manifest
    assert (manifest.preset, manifest.action.horizon, manifest.action.period_ns) == ("published", 8, 50_000_000)
    assert manifest.views == (ViewSpec("agentview", 224, 224), ViewSpec("wrist", 224, 224))
    assert list(manifest.statistics) == ["franka"]
    assert (manifest.prompt.template, manifest.prompt.tokens_per_view) == ("grounding", 64)
    assert manifest.prompt.lowercase


def test_an_imported_checkpoint_is_saved_and_loaded_in_its_own_dtype(
    load: Callable[..., Checkpoint], small: Any, plain: St4vlaPolicy, tmp_path: Path
) -> None:
    manifest = save_checkpoint(tmp_path, load())
    again = load_checkpoint(tmp_path)
    assert again.manifest == manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert all(torch.equal(value, small.weights[name]) for name, value in again.policy.state_dict().items())
    assert again.policy.get_parameter(TIED) is again.policy.get_parameter(EMBEDDING)
    # Over the file that its own weights are mapped from.
    save_checkpoint(tmp_path, again)
    assert torch.equal(act(again.policy.float(), again), act(plain, again))


def test_missing_surplus_and_misshapen_weights_are_listed_in_one_error(
    load: Callable[..., Checkpoint], small: Any, tmp_path: Path, write: Callable[..., Path]
) -> None:
    weights = dict(small.weights)
    gone = [name for name in weights if ".language_model.layers.17." in name or ".visual.blocks.3." in name]
    for name in gone:
        del weights[name]
    weights |= {"extra.one": torch.ones(3), "dino_pro.bias": torch.ones(63)}
    weights["layer_qformer.query_tokens"] = torch.ones(8, 32, dtype=torch.int64)
    with pytest.raises(ManifestError) as caught:
        load(weights=write(tmp_path, weights, "safetensors"))
    text = str(caught.value)
    assert "24 missing: " in text
    assert f"{gone[0]} {list(small.weights[gone[0]].shape)}, " in text
    assert sum(name in text for name in gone) == 20
    assert "and 4 more; 1 surplus: extra.one [3]; " in text
    assert "1 of another shape: dino_pro.bias [63] instead of [64]; " in text
    assert "1 not floating-point: layer_qformer.query_tokens torch.int64" in text


def test_the_language_head_may_be_absent_and_one_that_differs_is_warned_of(
    load: Callable[..., Checkpoint],
    small: Any,
    tmp_path: Path,
    write: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    weights = dict(small.weights)
    del weights[TIED]
    policy = load(weights=write(tmp_path, weights, "pt")).policy
    assert torch.equal(policy.get_parameter(TIED), small.weights[EMBEDDING])
    assert not caplog.records
    weights[TIED] = small.weights[EMBEDDING] + 1
    policy = load(weights=write(tmp_path, weights, "safetensors")).policy
    assert torch.equal(policy.get_parameter(TIED), small.weights[EMBEDDING])
    assert len(caplog.records) == 1
    assert f"{TIED} is dropped, though it differs from {EMBEDDING}" in caplog.text


def test_a_configuration_that_contradicts_the_weights_is_warned_of_and_the_weights_win(
    load: Callable[..., Checkpoint], small: Any, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = (small.folder / "config.yaml").read_text().replace("window_size: 7", "window_size: 15")
    (run / "config.yaml").write_text(
        text.replace("  qwenvl:", "  dino: {dino_backbone: dinov2_vits14}\n  qwenvl:").replace("scale: 0.5", "scale: 1")
    )
    manifest = load(run, weights=find_weights(small.folder), views=["front"], action_hz=5).manifest
    assert (manifest.views, manifest.prompt.view_count) == ((ViewSpec("front", 224, 224),), 1)
    assert manifest.action.period_ns == 200_000_000
    assert (manifest.action.horizon, manifest.model.encoder.dim) == (8, 32)
    assert manifest.model.bridge.gradient_decay == 1.0
    assert "says chunks of 16 actions, the weights are for 8" in caplog.text
    assert "dino_backbone says dinov2_vits14, the weights are of width 32" in caplog.text
    assert len(caplog.records) == 2


def test_widths_that_are_not_published_need_heads(load: Callable[..., Checkpoint]) -> None:
    with pytest.raises(ManifestError, match="pass `heads` for other sizes"):
        load(heads=None)


def test_heads_that_do_not_divide_the_widths_are_refused(load: Callable[..., Checkpoint], heads: Any) -> None:
    with pytest.raises(ManifestError, match="do not divide into heads"):
        load(heads=msgspec.structs.replace(heads, head=5))


def test_embodiments_with_different_masks_need_a_choice(
    load: Callable[..., Checkpoint], small: Any, run: Path, stats: Callable[..., Any]
) -> None:
    document = {"franka": stats([True] * 6 + [False]), "new_embodiment": stats([True] * 7)}
    (run / "dataset_statistics.json").write_text(json.dumps(document))
    weights = find_weights(small.folder)
    with pytest.raises(UsageError, match=r"--embodiment: franka: .*; new_embodiment: "):
        load(run, weights=weights)
    assert list(load(run, weights=weights, embodiment="new_embodiment").manifest.statistics) == ["new_embodiment"]


def test_the_weights_of_the_most_steps_are_found(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match=r"is .* the folder of a run"):
        find_weights(tmp_path)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("steps_30000_pytorch_model.pt", "steps_5000_pytorch_model.pt", "steps_final_pytorch_model.pt"):
        (folder / name).touch()
    assert find_weights(tmp_path).name == "steps_30000_pytorch_model.pt"
    (folder / "steps_30000_pytorch_model.safetensors").touch()
    assert find_weights(tmp_path).name == "steps_30000_pytorch_model.safetensors"


def test_an_image_size_that_does_not_divide_into_tokens_is_refused(
    load: Callable[..., Checkpoint], small: Any, run: Path
) -> None:
    text = (small.folder / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("    data_mix:", "    image_size: 225\n    data_mix:"))
    with pytest.raises(ManifestError, match="image_size 225 must be a multiple of 28"):
        load(run, weights=find_weights(small.folder))


def test_a_tokenizer_of_another_vocabulary_is_refused(
    load: Callable[..., Checkpoint], small: Any, tmp_path: Path
) -> None:
    with pytest.raises(FileMissingError, match=r"tokenizer\.json of Qwen2\.5-VL"):
        load(tokenizer=tmp_path / "none.json")
    with pytest.raises(ManifestError, match=r"is not a tokenizer\.json"):
        load(tokenizer=small.folder / "dataset_statistics.json")
    path = tmp_path / "tokenizer.json"
    path.write_text(small.tokenizer.read_text().replace("<|image_pad|>", "<|picture_pad|>"))
    with pytest.raises(ManifestError, match=r"vocabulary of 512: <\|image_pad\|> None instead of 510"):
        load(tokenizer=path)
