from pathlib import Path

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from st4vla.training.grounding.batches import GroundingSet
from st4vla.training.grounding.regions import NOTHING, UNKNOWN, find_regions
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn, write_samples
from st4vla.training.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer()


def opened(tmp_path: Path, tokenizer: Tokenizer, *rows: tuple[tuple[int, int], int, tuple[Turn, ...]]) -> GroundingSet:
    """Return samples of (size of each picture, how many pictures, turns)."""
    samples = []
    for number, (size, count, turns) in enumerate(rows):
        names = tuple(f"{number}-{index}.png" for index in range(count))
        for name in names:
            Image.new("RGB", size).save(tmp_path / name)
        task = Task.BOX if turns[0].targets else Task.GENERAL
        samples.append(GroundingSample(str(number), task, names, size, turns))
    write_samples(tmp_path / "samples.jsonl", samples)
    return GroundingSet(tmp_path / "samples.jsonl", tmp_path, tokenizer)


def box(label: str, *corners: float, question: str = "") -> Turn:
    x1, y1, x2, y2 = corners
    return Turn(question or f"Find the {label}.", targets=(Target(label, box=(x1, y1, x2, y2)),))


def test_a_token_shows_what_fills_it_or_lies_in_it(tmp_path: Path, tokenizer: Tokenizer) -> None:
    # Three columns, two rows. The cube fills the first token and a third of the one below; the ball lies within the
    # third; the crumb is mostly in the last, but a little in the token above too.
    turns = (box("cube", 0, 0, 28, 38), box("ball", 60, 5, 68, 13), box("crumb", 70, 26, 78, 36))
    found = find_regions([opened(tmp_path, tokenizer, ((84, 56), 1, turns))[0]], tokenizer)
    assert found.shown.tolist() == [0, NOTHING, 1, 0, NOTHING, 2]
    assert found.places[0].tolist() == [0, 0, 28, 38]
    assert found.places[1].tolist() == [28, 0, 56, 28]
    assert found.places[5].tolist() == [70, 26, 78, 36]
    assert [tokenizer.decode(list(phrase)) for phrase in found.phrases] == [" cube", " ball", " crumb"]


def test_boxes_are_in_the_pixels_that_the_model_sees(tmp_path: Path, tokenizer: Tokenizer) -> None:
    # 448 by 448 pixels are shown as 224 by 224.
    item = opened(tmp_path, tokenizer, ((448, 448), 1, (box("cube", 112, 0, 168, 56),)))[0]
    found = find_regions([item], tokenizer)
    assert found.shown.tolist().index(0) == 2
    assert found.places[2].tolist() == [56, 0, 84, 28]
    assert found.mentioned.tolist() == [[56, 0, 84, 28]]


def test_mentions_point_into_the_batch(tmp_path: Path, tokenizer: Tokenizer) -> None:
    turns = (box("cube", 0, 0, 9, 9, question="What lies left?"), box("ball", 30, 30, 50, 50))
    samples = opened(
        tmp_path,
        tokenizer,
        ((56, 56), 1, (Turn("What is it?", "A table."),)),
        ((56, 56), 2, turns),
        ((56, 56), 1, (box("cube", 1, 1, 9, 9),)),
    )
    items = [samples[index] for index in range(3)]
    found = find_regions(items, tokenizer)
    # Nobody knows what is in a picture without boxes: the first one's, and the second one of two.
    assert found.shown.tolist() == [*[UNKNOWN] * 4, 0, NOTHING, NOTHING, 1, *[UNKNOWN] * 4, 0, *[NOTHING] * 3]
    assert len(found.phrases) == 2
    said = [items[row].conversation.token_ids[column] for row, column in found.mentions.tolist()]
    assert [tokenizer.decode([token]) for token in said] == [" ball", " cube"]
    assert found.mentioned.tolist() == [[30, 30, 50, 50], [1, 1, 9, 9]]


def test_a_batch_without_boxes_has_no_regions(tmp_path: Path, tokenizer: Tokenizer) -> None:
    found = find_regions([opened(tmp_path, tokenizer, ((56, 56), 1, (Turn("What is it?", "A table."),)))[0]], tokenizer)
    assert found.phrases == ()
    assert found.mentions.shape == (0, 2)
    assert found.mentioned.shape == (0, 4)
    assert torch.equal(found.shown, torch.full((4,), UNKNOWN))
