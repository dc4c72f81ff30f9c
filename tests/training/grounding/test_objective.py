from pathlib import Path

import pytest
import torch
from PIL import Image

from st4vla.contracts.errors import DatasetError
from st4vla.training.checkpoint import Checkpoint, init_checkpoint
from st4vla.training.grounding.accuracy import (
    Found,
    accuracy,
    ask_for_boxes,
    draw_boxes,
    intersection_over_union,
)
from st4vla.training.grounding.batches import GroundingSet, collate, load_picture
from st4vla.training.grounding.conversation import IGNORED
from st4vla.training.grounding.objective import GroundingObjective, grounding_loss
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn, write_samples
from st4vla.training.loop.order import MixtureOrder
from st4vla.training.model.planner import special_token_id

SIZES = ((56, 56), (84, 56), (56, 56))
PADDING = special_token_id("<|endoftext|>", 512)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return init_checkpoint("tiny", 1)


@pytest.fixture
def samples(tmp_path: Path, checkpoint: Checkpoint) -> GroundingSet:
    """Three pictures of two sizes; the last question is answered in words."""
    rows = []
    for index, size in enumerate(SIZES):
        Image.new("RGB", size, (60 * index, 0, 0)).save(tmp_path / f"{index}.png")
        turn = Turn(f"Where is thing {index}?", targets=(Target(f"thing {index}", box=(4, 4, 30 + index, 40)),))
        rows.append(GroundingSample(str(index), Task.BOX, (f"{index}.png",), size, (turn,)))
    rows[2] = GroundingSample("2", Task.GENERAL, ("2.png",), SIZES[2], (Turn("What is it?", "A long, long story."),))
    write_samples(tmp_path / "samples.jsonl", rows)
    return GroundingSet(tmp_path / "samples.jsonl", tmp_path, checkpoint.tokenizer)


def test_the_loss_is_hugging_face_s_own(checkpoint: Checkpoint, samples: GroundingSet) -> None:
    batch = collate([samples[0], samples[2]], PADDING)
    assert not batch.token_mask.all()
    planner = checkpoint.policy.qwen_vl_interface.model
    from st4vla.training.model.planner import patchify  # noqa: PLC0415

    with torch.no_grad():
        expected = planner(
            input_ids=batch.token_ids,
            attention_mask=batch.token_mask.long(),
            pixel_values=patchify(torch.stack(batch.pictures), checkpoint.policy.config.planner.vision),
            image_grid_thw=torch.tensor([[1, 4, 4]] * 2),
            labels=batch.labels,
        ).loss
        torch.testing.assert_close(grounding_loss(checkpoint.policy, batch), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_pictures_of_several_sizes_in_a_batch_count_as_they_do_alone(
    checkpoint: Checkpoint, samples: GroundingSet
) -> None:
    items = [samples[index] for index in range(3)]
    together = grounding_loss(checkpoint.policy, collate(items, PADDING))
    words = [sum(label != IGNORED for label in item.conversation.labels) for item in items]
    alone = [float(grounding_loss(checkpoint.policy, collate([item], PADDING))) for item in items]
    mean = sum(loss * count for loss, count in zip(alone, words, strict=True)) / sum(words)
    torch.testing.assert_close(float(together), mean, rtol=1e-4, atol=1e-5)


def test_a_step_s_loss_follows_from_the_step(checkpoint: Checkpoint, samples: GroundingSet) -> None:
    objective = GroundingObjective(
        checkpoint.policy, [samples], MixtureOrder([3], [1.0], seed=0), batch_size=2, weight=0.5
    )
    with torch.no_grad():
        first, again, other = (objective.losses(step)["grounding"] for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_accuracy_counts_boxes_that_overlap_by_more_than_half(samples: GroundingSet, tmp_path: Path) -> None:
    assert intersection_over_union((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert intersection_over_union((0, 0, 10, 10), (20, 0, 30, 10)) == 0
    item = samples[0]
    found = [
        Found(item, (0, 0, 10, 10), (0, 0, 10, 10)),
        Found(item, (0, 0, 10, 10), (0, 0, 10, 4)),
        Found(item, (0, 0, 10, 10), None),
    ]
    assert accuracy(found) == pytest.approx(1 / 3)
    draw_boxes(tmp_path / "boxes.png", found)
    with Image.open(tmp_path / "boxes.png") as sheet:
        assert sheet.size == (672, 224)


def test_only_samples_of_boxes_are_asked_for(checkpoint: Checkpoint, samples: GroundingSet) -> None:
    found = ask_for_boxes(checkpoint.policy, checkpoint.tokenizer, samples, count=10, seed=0)
    assert sorted(each.item.sample.id for each in found) == ["0", "1"]
    assert accuracy(found) == 0


def test_a_picture_is_shown_in_whole_tokens_and_never_too_large(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "large.png")
    height, width, _ = load_picture(tmp_path / "large.png").shape
    assert (height % 28, width % 28) == (0, 0)
    assert height * width <= 224 * 224
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"broken\.png cannot be read as a picture"):
        load_picture(tmp_path / "broken.png")
