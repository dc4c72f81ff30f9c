from pathlib import Path

import pytest
import torch
from PIL import Image

from st4vla.contracts.errors import DatasetError, UsageError
from st4vla.training.checkpoint import Checkpoint, init_checkpoint
from st4vla.training.grounding.batches import GroundingSet, collate
from st4vla.training.grounding.objective import GroundingObjective
from st4vla.training.grounding.samples import GroundingSample, Task, Turn, write_samples
from st4vla.training.loop.lengths import LengthGrouped
from st4vla.training.loop.order import MixtureOrder
from st4vla.training.loop.processes import Processes


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return init_checkpoint("tiny", 1)


@pytest.fixture
def samples(tmp_path: Path, checkpoint: Checkpoint) -> GroundingSet:
    """Twenty-four samples; sizes of pictures and lengths of answers differ, and some pictures are made smaller."""
    rows = []
    for index in range(24):
        size = (60 + 90 * (index % 4), 60 + 70 * (index % 3))
        Image.new("RGB", size, (10 * index, 0, 0)).save(tmp_path / f"{index}.png")
        turn = Turn(f"What is thing {index}?", "It is a thing. " * (1 + index % 5))
        rows.append(GroundingSample(str(index), Task.GENERAL, (f"{index}.png",), size, (turn,)))
    write_samples(tmp_path / "samples.jsonl", rows)
    return GroundingSet(tmp_path / "samples.jsonl", tmp_path, checkpoint.tokenizer)


def test_a_sample_s_length_is_known_before_its_picture_is_read(samples: GroundingSet, tmp_path: Path) -> None:
    lengths = [samples.length(index) for index in range(len(samples))]
    assert lengths == [len(samples[index].conversation.token_ids) for index in range(len(samples))]
    assert len(set(lengths)) > 5
    for picture in tmp_path.glob("*.png"):
        picture.unlink()
    assert [samples.length(index) for index in range(len(samples))] == lengths


def test_grouped_batches_hold_less_padding(samples: GroundingSet) -> None:
    order = MixtureOrder([len(samples)], [1.0], seed=0)

    def padding(window: int) -> float:
        batches = LengthGrouped(order, lambda draw: samples.length(draw.sample), batch_size=4, window=window)
        masks = [collate([samples[draw.sample] for draw in batches.batch(step)], 0).token_mask for step in range(6)]
        return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    assert padding(6) < 0.5 * padding(1)


def test_a_picture_that_is_gone_is_named_with_its_sample(samples: GroundingSet, tmp_path: Path) -> None:
    (tmp_path / "3.png").unlink()
    with pytest.raises(DatasetError, match=r"sample '3': .*3\.png cannot be read as a picture.*; replace the picture"):
        samples[3]


def test_a_batch_that_processes_cannot_share_is_refused_at_once(checkpoint: Checkpoint, samples: GroundingSet) -> None:
    with pytest.raises(UsageError, match="a batch of 6 for 4 processes"):
        GroundingObjective(
            checkpoint.policy,
            [samples],
            MixtureOrder([24], [1.0], seed=0),
            batch_size=6,
            processes=Processes(1, 4),
        )


def test_a_batch_moves_with_all_that_it_holds(samples: GroundingSet) -> None:
    moved = collate([samples[0], samples[1]], 0).to(torch.device("meta"))
    assert {value.device.type for value in (*moved.pictures, moved.token_ids, moved.token_mask, moved.labels)} == {
        "meta"
    }


def test_samples_of_some_tasks_alone_can_be_taken(
    samples: GroundingSet, tmp_path: Path, checkpoint: Checkpoint
) -> None:
    path = tmp_path / "samples.jsonl"
    assert len(GroundingSet(path, tmp_path, checkpoint.tokenizer, [Task.GENERAL])) == len(samples)
    with pytest.raises(DatasetError, match=r"holds no samples of box, point; leave 'tasks' out"):
        GroundingSet(path, tmp_path, checkpoint.tokenizer, [Task.BOX, Task.POINT])
