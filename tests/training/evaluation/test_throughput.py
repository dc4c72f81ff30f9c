import json
from pathlib import Path

import pytest
import torch

from st4vla.contracts.command_line import main
from st4vla.contracts.errors import TrainingError, UsageError
from st4vla.contracts.prompts import IMAGE_TOKEN
from st4vla.training.evaluation import throughput
from st4vla.training.evaluation.synthetic import synthetic_tokenizer
from st4vla.training.evaluation.throughput import (
    Sides,
    StepCost,
    Throughput,
    ThroughputConfig,
    build_sides,
    check_agreement,
    cut_planner,
    measure_throughput,
)
from st4vla.training.model.planner import QWEN_VOCABULARY, SPECIAL_TOKENS, special_token_id
from st4vla.training.presets import get_preset

TINY = ThroughputConfig(batch_size=3, grounding_batch_size=2, noise_draws=2, pairs=1)
ARGUMENTS = ["train", "throughput", "--batch-size", "1", "--grounding-batch-size", "1", "--noise-draws", "1"]
#: One of each network, and what both losses reach.
LEARNING = (
    "qwen_vl_interface.model.model.visual.patch_embed.proj.weight",
    "qwen_vl_interface.model.model.visual.blocks.1.attn.qkv.weight",
    "qwen_vl_interface.model.model.language_model.embed_tokens.weight",
    "qwen_vl_interface.model.model.language_model.layers.0.mlp.down_proj.weight",
    "dino_encoder.body.blocks.0.attn.qkv.weight",
    "layer_qformer.query_tokens",
    "action_model.net.blocks.1.mlp.fc1.weight",
)


@pytest.fixture
def sides() -> Sides:
    return build_sides(TINY)


def test_both_sides_compute_the_same_losses(sides: Sides) -> None:
    losses = check_agreement(sides, 1e-4)
    assert set(losses) == {"action", "grounding"}
    assert all(0 < mine < float("inf") for mine, _ in losses.values())
    assert sides.policy.training
    assert sides.eager.policy.training


def test_both_sides_compute_the_same_losses_in_every_batch(sides: Sides) -> None:
    sides.policy.eval()
    sides.eager.policy.eval()
    with torch.no_grad():
        for step in (1, 2):
            ours = sides.objective.losses(step)
            assert float(ours["action"]) == pytest.approx(float(sides.eager.action_loss(step)), rel=1e-4)
            assert float(ours["grounding"]) == pytest.approx(float(sides.eager.grounding_loss(step)), rel=1e-4)


def test_both_sides_compute_the_same_gradients_with_dropout(sides: Sides) -> None:
    sides.policy.train()
    sides.eager.policy.train()
    torch.manual_seed(3)
    torch.stack(list(sides.objective.losses(0).values())).sum().backward()
    torch.manual_seed(3)
    sides.eager.backward(0)
    ours, eager = dict(sides.policy.named_parameters()), dict(sides.eager.policy.named_parameters())
    assert {name for name, each in ours.items() if each.grad is None} == {
        name for name, each in eager.items() if each.grad is None
    }
    for name in LEARNING:
        expected, found = eager[name].grad, ours[name].grad
        assert expected is not None
        assert found is not None
        assert float(expected.norm()) > 0
        assert float((found - expected).norm() / expected.norm()) < 1e-4, name


def test_prompts_of_a_batch_differ_in_length(sides: Sides) -> None:
    actions, conversations = sides.eager._batches[0]
    for batch in (actions, conversations):
        assert len(set(batch.attention_mask.sum(1).tolist())) > 1


def test_the_sides_take_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Sides] = []
    build = throughput.build_sides
    monkeypatch.setattr(throughput, "build_sides", lambda config: made.append(build(config)) or made[-1])
    counted: list[tuple[int, int]] = []
    found = measure_throughput(TINY, progress=lambda done, total: counted.append((done, total)))
    assert counted == [(1, 3), (2, 3), (3, 3)]
    assert len(found.ours) == len(found.eager) == 1
    assert found.ours[0].peak_bytes is None
    before = dict(build(TINY).policy.named_parameters())["layer_qformer.query_tokens"]
    ours, eager = (dict(each.named_parameters()) for each in (made[0].policy, made[0].eager.policy))
    assert not torch.equal(before, ours["layer_qformer.query_tokens"])
    for name in ("layer_qformer.query_tokens", "layer_qformer.proj.weight"):
        torch.testing.assert_close(ours[name], eager[name], rtol=1e-3, atol=1e-5)


def test_sides_that_differ_get_no_ratio(sides: Sides) -> None:
    with torch.no_grad():
        sides.policy.dino_pro.weight.mul_(1.5)
    with pytest.raises(TrainingError, match=r"different losses .* action .*no ratio"):
        check_agreement(sides, 1e-4)
    with torch.no_grad():
        sides.policy.dino_pro.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="action nan"):
        check_agreement(sides, 1e-4)


def test_bfloat16_is_computed_on_both_sides(sides: Sides) -> None:
    exact = check_agreement(sides, 1e-4)
    sides.compute_in(torch.bfloat16)
    coarse = check_agreement(sides, throughput.COARSE_TOLERANCE)
    for side in range(2):
        assert exact["action"][side] != coarse["action"][side]
    assert coarse["action"][0] == pytest.approx(exact["action"][0], rel=2e-2)


def test_the_ratio_is_the_middle_of_the_pairs_and_says_how_far_they_lie_apart() -> None:
    ours = tuple(StepCost(seconds, 1.0, 10**9) for seconds in (1.0, 2.0, 1.0))
    eager = tuple(StepCost(seconds, 3.0, 2 * 10**9) for seconds in (2.0, 2.0, 3.0))
    summary = Throughput(ours, eager, {}, 0).summary(samples=6)
    assert summary["ratio"] == 2
    assert summary["ratio_quartiles"] == [1.5, 2.5]
    assert summary["ratio_extremes"] == [1, 3]
    assert summary["ratio_of_cpu_time"] == 3
    assert summary["ours_samples_per_s"] == 6
    assert summary["eager_samples_per_s"] == 3
    assert (summary["ours_peak_gb"], summary["eager_peak_gb"]) == (1, 2)


def test_a_planner_is_cut_to_what_the_bridge_can_read() -> None:
    base = cut_planner(get_preset("base").model, 4)
    assert (base.planner.depth, base.bridge.start_layer, base.bridge.end_layer) == (4, 4, 5)
    tiny = cut_planner(get_preset("tiny").model, 1)
    assert (tiny.bridge.start_layer, tiny.bridge.end_layer) == (0, 2)
    for layers in (0, 37):
        with pytest.raises(UsageError, match="can be cut to 1 up to 36 layers"):
            cut_planner(get_preset("base").model, layers)


@pytest.mark.parametrize("vocabulary", [512, QWEN_VOCABULARY])
def test_special_tokens_have_the_ids_of_the_vocabulary(vocabulary: int) -> None:
    tokenizer = synthetic_tokenizer(vocabulary)
    for token in SPECIAL_TOKENS:
        assert tokenizer.token_to_id(token) == special_token_id(token, vocabulary)
    ids = tokenizer.encode(f"<|im_start|>user\n{IMAGE_TOKEN * 2}the red cube", add_special_tokens=False).ids
    assert ids.count(special_token_id(IMAGE_TOKEN, vocabulary)) == 2
    assert max(ids) < vocabulary


def test_the_command_prints_the_ratio_and_writes_a_receipt(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, threads = tmp_path / "receipt.json", torch.get_num_threads()
    assert main([*ARGUMENTS, "--pairs", "1", "--threads", "1", "--planner-layers", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    line = json.loads(printed.out)
    assert line["ratio"] > 0
    assert line["pairs"] == 1
    assert "plain loop" in printed.err
    assert torch.get_num_threads() == threads
    receipt = json.loads(out.read_text())
    assert receipt["ratio"] == line["ratio"]
    assert receipt["machine"]["threads"] == 1
    assert receipt["machine"]["cpu"]
    assert receipt["sizes"]["config"]["planner_layers"] == 1
    assert receipt["pairs"][0]["first"] == "ours"
    assert receipt["pairs"][0]["eager"]["seconds"] > 0
    assert "--planner-layers 1" in receipt["command"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pairs", "0"], "--pairs 0: must be positive"),
        (["--preset", "huge"], "unknown preset 'huge'"),
        (["--device", "tpu"], "--device tpu: choose one of cpu, cuda"),
        (["--dtype", "float16"], "--dtype float16: choose one of float32, bfloat16"),
        (["--dtype", "bfloat16"], "--dtype bfloat16: on a CPU"),
        (["--planner-layers", "9"], "--planner-layers 9: this preset can be cut to 1 up to 2 layers"),
        (["--out", "no/such/folder/r.json"], "name a file in a folder that is there"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([*ARGUMENTS, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "--device", "cuda"]) == 2
    assert "PyTorch finds no GPU here" in capsys.readouterr().err


@pytest.mark.gpu
def test_a_gpu_says_how_much_memory_each_side_took(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "--pairs", "1", "--device", "cuda", "--dtype", "bfloat16"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["ours_peak_gb"] > 0
    assert line["eager_peak_gb"] > 0
