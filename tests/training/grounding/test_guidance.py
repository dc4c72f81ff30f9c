from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from st4vla.contracts.errors import UsageError
from st4vla.training.checkpoint import Checkpoint, init_checkpoint
from st4vla.training.grounding.batches import GroundingSet, collate
from st4vla.training.grounding.guidance import BACKGROUND_WEIGHT, CODE_CHANNELS, box_code, guidance_losses
from st4vla.training.grounding.objective import GroundingObjective
from st4vla.training.grounding.regions import find_regions
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn, write_samples
from st4vla.training.loop.order import MixtureOrder
from st4vla.training.loop.processes import Processes
from st4vla.training.model.planner import hidden_states, special_token_id

PADDING = special_token_id("<|endoftext|>", 512)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return init_checkpoint("tabletop", 1)


@pytest.fixture
def samples(tmp_path: Path, checkpoint: Checkpoint) -> GroundingSet:
    """A picture with a cube in the last of its four tokens, and one of which only words are said."""
    Image.effect_noise((56, 56), 60).convert("RGB").save(tmp_path / "noise.png")
    cube = Turn("Find the cube.", targets=(Target("cube", box=(30, 32, 50, 54)),))
    rows = [
        GroundingSample("0", Task.BOX, ("noise.png",), (56, 56), (cube,)),
        GroundingSample("1", Task.GENERAL, ("noise.png",), (56, 56), (Turn("What is it?", "Noise."),)),
    ]
    write_samples(tmp_path / "samples.jsonl", rows)
    return GroundingSet(tmp_path / "samples.jsonl", tmp_path, checkpoint.tokenizer)


def test_the_code_repeats_where_digits_do() -> None:
    code = box_code(torch.tensor([[7.0, 40.0, 107.0, 140.0], [17.0, 50.0, 117.0, 150.0]])).unflatten(1, (4, 2, 4))
    torch.testing.assert_close(code[0, ..., 3], code[1, ..., 3], atol=1e-4, rtol=0)
    torch.testing.assert_close(code[:, 0, :, 1], code[:, 2, :, 1], atol=1e-4, rtol=0)
    assert (code[0, ..., 0] - code[1, ..., 0]).abs().max() > 0.1


@torch.no_grad()
def test_losses_are_what_they_say_written_out(checkpoint: Checkpoint, samples: GroundingSet) -> None:
    items = [samples[0], samples[1]]
    planner, config = checkpoint.policy.qwen_vl_interface.model, checkpoint.policy.config.planner
    batch = collate(items, PADDING)
    states = hidden_states(planner, config, batch.pictures, batch.token_ids, batch.token_mask)
    regions = find_regions(items, checkpoint.tokenizer)
    found = guidance_losses(planner, states, batch.token_ids, regions, Processes())

    first = (batch.token_ids[0] == planner.model.config.image_token_id).nonzero()[:, 0]
    words = checkpoint.tokenizer.encode(" cube", add_special_tokens=False).ids
    phrase = planner.get_input_embeddings().weight[words].mean(dim=0)[CODE_CHANNELS:]
    scores = states[0][0, first][:, CODE_CHANNELS:] @ phrase / len(phrase) ** 0.5
    surprise = functional.softplus(torch.cat([scores[:3], -scores[3:]]))
    torch.testing.assert_close(found["naming"], (surprise[:3].mean() + surprise[3]) / 2)

    cube = torch.tensor([30.0, 32.0, 50.0, 54.0])
    places = torch.tensor([[0.0, 0, 28, 28], [28, 0, 56, 28], [0, 28, 28, 56], [30, 32, 50, 54]])
    missed = (states[1][0, first][:, :CODE_CHANNELS] - box_code(places)).square().mean(dim=1)
    weights = torch.tensor([BACKGROUND_WEIGHT] * 3 + [1.0])
    torch.testing.assert_close(found["placing"], (missed * weights).sum() / weights.sum())

    mention = items[0].conversation.mentions[0]
    expected = (states[2][0, mention, :CODE_CHANNELS] - box_code(cube)).square().mean()
    torch.testing.assert_close(found["finding"], expected)


def test_a_batch_without_boxes_adds_nothing(checkpoint: Checkpoint, samples: GroundingSet) -> None:
    objective = GroundingObjective(
        checkpoint.policy, [samples], MixtureOrder([2], [1.0], seed=0), batch_size=1, guidance=0.5
    )
    steps = [objective.losses(step) for step in range(2)]
    figures = [{name: float(loss.detach()) for name, loss in losses.items()} for losses in steps]
    bare = min(range(2), key=lambda step: figures[step]["finding"])
    assert [figures[bare][name] for name in ("naming", "placing", "finding")] == [0, 0, 0]
    assert all(value > 0 for value in figures[1 - bare].values())
    sum(steps[bare].values()).backward()
    assert all(torch.isfinite(each.grad).all() for each in checkpoint.policy.parameters() if each.grad is not None)


def test_guidance_has_a_weight_and_changes_nothing_where_it_is_off(
    checkpoint: Checkpoint, samples: GroundingSet
) -> None:
    def losses(guidance: float) -> dict[str, float]:
        order = MixtureOrder([2], [1.0], seed=0)
        objective = GroundingObjective(checkpoint.policy, [samples], order, batch_size=2, guidance=guidance)
        with torch.no_grad():
            return {name: float(loss) for name, loss in objective.losses(0).items()}

    off, half, whole = losses(0), losses(0.5), losses(1)
    assert set(off) == {"grounding"}
    assert off["grounding"] == half["grounding"] == whole["grounding"]
    assert half["finding"] == pytest.approx(whole["finding"] / 2)


def test_a_planner_that_is_too_flat_is_refused(samples: GroundingSet) -> None:
    flat = init_checkpoint("tiny", 1).policy
    with pytest.raises(UsageError, match=r"at least 3 layers .* this one has 2 and 64; set guidance to 0"):
        GroundingObjective(flat, [samples], MixtureOrder([2], [1.0], seed=0), batch_size=1, guidance=1.0)
