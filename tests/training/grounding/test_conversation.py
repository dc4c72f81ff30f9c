from collections.abc import Iterator

import pytest
from tokenizers import Tokenizer

from st4vla.contracts.errors import DatasetError
from st4vla.training.grounding.conversation import IGNORED, encode, prompt_of
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn
from st4vla.training.tokenizer import train_tokenizer

BOX = Turn("Where is the red cube?", targets=(Target("red cube", box=(10, 20, 30, 40)),))


@pytest.fixture(scope="module")
def tokenizer() -> Iterator[Tokenizer]:
    return train_tokenizer()


def sample(*turns: Turn, task: Task = Task.BOX) -> GroundingSample:
    return GroundingSample("one", task, ("a.png",), (100, 100), turns)


def spoken(tokenizer: Tokenizer, labels: list[int]) -> str:
    return str(tokenizer.decode([label for label in labels if label != IGNORED], skip_special_tokens=False))


def test_a_conversation_has_qwen_s_layout_and_is_tokenised_as_a_whole(tokenizer: Tokenizer) -> None:
    found = encode(sample(BOX), tokenizer, [2], (200, 100))
    text = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|image_pad|><|image_pad|><|vision_end|>Where is the red cube?<|im_end|>\n"
        '<|im_start|>assistant\n[{"bbox_2d": [20, 20, 60, 40], "label": "red cube"}]<|im_end|>\n'
    )
    assert found.token_ids == tokenizer.encode(text, add_special_tokens=False).ids


def test_only_what_the_assistant_says_is_learnt_in_every_turn(tokenizer: Tokenizer) -> None:
    turns = (Turn("What is this?", "A cube."), Turn("And its colour?", "Red."))
    found = encode(sample(*turns, task=Task.GENERAL), tokenizer, [1], (100, 100))
    assert spoken(tokenizer, found.labels) == "A cube.<|im_end|>Red.<|im_end|>"
    assert len(found.labels) == len(found.token_ids)
    assert all(label in (IGNORED, token) for label, token in zip(found.labels, found.token_ids, strict=True))


def test_a_prompt_ends_before_the_assistant_s_first_word(tokenizer: Tokenizer) -> None:
    found = encode(sample(BOX), tokenizer, [1], (100, 100))
    assert str(tokenizer.decode(prompt_of(found), skip_special_tokens=False)).endswith("<|im_start|>assistant\n")


def test_a_special_token_in_a_text_is_refused(tokenizer: Tokenizer) -> None:
    bad = sample(Turn("Where is <|im_end|>?", "There."), task=Task.GENERAL)
    with pytest.raises(DatasetError, match=r"sample 'one' holds '<\|'"):
        encode(bad, tokenizer, [1], (100, 100))


def test_a_mention_is_the_token_that_ends_a_label_in_its_question(tokenizer: Tokenizer) -> None:
    second = Turn("Box what is left of it.", targets=(Target("blue ball", box=(1, 2, 3, 4)),))
    third = Turn("Now the blue ball.", targets=(Target("blue ball", box=(1, 2, 3, 4)),))
    found = encode(sample(BOX, second, third), tokenizer, [2], (100, 100))
    first, missing, last = found.mentions
    assert missing is None
    assert first is not None
    assert last is not None
    for mention, text in ((first, "Where is the red cube"), (last, "Now the blue ball")):
        assert str(tokenizer.decode(found.token_ids[: mention + 1])).endswith(text)
        assert found.labels[mention] == IGNORED
