"""Tests that the planner answers with rounded products for a while, and is itself again afterwards."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from st4vla.contracts.errors import DatasetError
from st4vla.export.quantization.grounding import BoxJudge, lowered_planner
from st4vla.export.quantization.observing import Observations
from st4vla.export.quantization.recipe import GraphRecipe
from st4vla.export.quantization.scaling import Scaling, choose_scaling
from st4vla.training.checkpoint import Checkpoint, init_checkpoint
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn, write_samples

NAMES = ["visual.blocks.0", "visual.blocks.1", "visual.merger", "layers.0", "layers.1"]


@pytest.fixture(scope="module")
def own() -> Checkpoint:
    """Return a checkpoint that no other test shares."""
    return init_checkpoint("tiny", 3)


@pytest.fixture(scope="module")
def scalings(own: Checkpoint, observations: dict[str, Observations]) -> dict[str, Scaling]:
    weights = {name: module.weight.detach().numpy().T for name, module in linears(own)}
    seen = observations["planner"].activations
    return {name: choose_scaling(seen[name], [weight]) for name, weight in weights.items()}


def linears(checkpoint: Checkpoint) -> Iterator[tuple[str, nn.Linear]]:
    model = checkpoint.policy.qwen_vl_interface.model.model
    for part, root in (("visual", model.visual), ("layers", model.language_model.layers)):
        for name, module in root.named_modules():
            if isinstance(module, nn.Linear):
                yield f"{part}.{name}", module


def answer(checkpoint: Checkpoint) -> Tensor:
    """Return the planner's hidden numbers."""
    generator = torch.Generator().manual_seed(0)
    views = torch.randint(0, 256, (1, 2, 224, 224, 3), dtype=torch.uint8, generator=generator)
    text = checkpoint.manifest.prompt.render("lift the cube")
    with torch.no_grad():
        return torch.stack(list(checkpoint.policy.plan(views, torch.tensor([checkpoint.tokenizer.encode(text).ids]))))


def state(checkpoint: Checkpoint) -> list[tuple[int, bytes, int]]:
    return [
        (
            module.weight.data_ptr(),
            module.weight.detach().numpy().tobytes(),
            len(module._forward_hooks) + len(module._forward_pre_hooks),
        )
        for _, module in linears(checkpoint)
    ]


@pytest.mark.parametrize(
    ("precision", "around", "least", "most"),
    [
        ("float16", "float16", 1e-5, 1e-2),
        ("bfloat16", "bfloat16", 1e-4, 0.1),
        ("int8", "float16", 1e-4, 0.3),
        ("int4", "float16", 1e-2, 1.0),
        ("int8_dynamic", "float32", 1e-4, 0.3),
    ],
)
def test_hidden_numbers_change_inside_and_are_themselves_again_outside(  # noqa: PLR0917
    own: Checkpoint, scalings: dict[str, Scaling], precision: str, around: str, least: float, most: float
) -> None:
    before, known = answer(own), state(own)
    recipe = GraphRecipe(dict.fromkeys(NAMES, precision), dict.fromkeys(NAMES, around))
    with lowered_planner(own.policy, recipe, scalings):
        inside = answer(own)
        changed = [old[1] != new[1] for old, new in zip(known, state(own), strict=True)]
    assert all(changed)
    assert state(own) == known
    assert torch.equal(answer(own), before)
    distance = float((inside - before).abs().max() / before.abs().max())
    assert least < distance < most


def test_all_is_restored_after_an_error(own: Checkpoint, scalings: dict[str, Scaling]) -> None:
    known = state(own)
    recipe = GraphRecipe(dict.fromkeys(NAMES, "int8"))
    inside = []

    def answer_and_fail() -> None:
        with lowered_planner(own.policy, recipe, scalings):
            inside.append(state(own))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer_and_fail()
    assert inside != [known]
    assert state(own) == known


def test_an_error_on_the_way_in_leaves_nothing_rounded(own: Checkpoint) -> None:
    known = state(own)
    wrong = Scaling(np.ones(3, np.float32), 1.0)
    paths = {"layers.1.mlp.down_proj": wrong}
    recipe = GraphRecipe(dict.fromkeys(NAMES, "int8"))
    with pytest.raises(ValueError, match="broadcast"), lowered_planner(own.policy, recipe, paths):
        pass
    assert state(own) == known


def test_only_the_blocks_of_the_recipe_are_rounded(own: Checkpoint) -> None:
    known = state(own)
    with lowered_planner(own.policy, GraphRecipe({"layers.1": "float16", "keys": "int4"}), {}):
        now = state(own)
    changed = {name for (name, _), old, new in zip(linears(own), known, now, strict=True) if old[1] != new[1]}
    assert changed == {name for name, _ in linears(own) if name.startswith("layers.1.")}
    with lowered_planner(own.policy, GraphRecipe(dict.fromkeys(NAMES, "float32")), {}):
        assert state(own) == known


def test_every_product_of_the_planner_in_pytorch_has_its_range_from_the_graph(
    own: Checkpoint, observations: dict[str, Observations]
) -> None:
    assert {name for name, _ in linears(own)} <= set(observations["planner"].activations)


def test_activations_and_weights_are_within_half_a_step_of_what_they_were(checkpoint: Checkpoint) -> None:
    module = dict(linears(checkpoint))["layers.0.mlp.up_proj"]
    weight = module.weight.detach().clone()
    with lowered_planner(checkpoint.policy, GraphRecipe({"layers.0": "int8_dynamic"}), {}):
        x = torch.randn(5, weight.shape[1], generator=torch.Generator().manual_seed(1))
        found = module(x).detach()
        whole = module.weight.detach().clone()
    steps = weight.abs().amax(dim=1, keepdim=True) / 127
    assert float(((whole - weight) / steps).abs().max()) <= 0.5 + 1e-4
    scale = (x.max().clamp(min=0) - x.min().clamp(max=0)) / 255
    assert float((found - x @ whole.T).abs().max()) <= float(scale / 2 * whole.abs().sum(dim=1).max()) * 1.01
    assert not torch.equal(found, x @ whole.T)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    rows = []
    for index in range(2):
        Image.new("RGB", (56, 56), (120 * index, 40, 0)).save(tmp_path / f"{index}.png")
        turn = Turn("Where?", targets=(Target("it", box=(10, 10, 30, 40)),))
        rows.append(GroundingSample(str(index), Task.BOX, (f"{index}.png",), (56, 56), (turn,)))
    write_samples(tmp_path / "samples.jsonl", rows)
    return tmp_path / "samples.jsonl"


def test_boxes_are_asked_for_of_the_rounded_planner(
    own: Checkpoint, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    known = state(own)

    def ask(*given: object, count: int, seed: int) -> list[object]:
        del given
        assert (count, seed) == (2, 7)
        asked.append(state(own) != known)

        class Found:
            iou = 0.25

        return [Found(), Found()]

    monkeypatch.setattr("st4vla.export.quantization.grounding.ask_for_boxes", ask)
    judge = BoxJudge(own, samples, samples.parent, count=2, seed=7)
    assert judge.iou() == judge.lowered_iou(GraphRecipe({"layers.0": "float16"}), {}) == 25
    assert asked == [False, True]


def test_samples_that_are_not_there_are_a_clear_error(own: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none"):
        BoxJudge(own, tmp_path / "none.jsonl", tmp_path, count=2, seed=0)
