"""From a sample to the tokens that the planner reads and the labels that it learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding, Tokenizer

from st4vla.contracts.errors import DatasetError
from st4vla.contracts.prompts import IMAGE_TOKEN
from st4vla.training.grounding.answers import answer_text
from st4vla.training.grounding.samples import GroundingSample

SYSTEM = "You are a helpful assistant."
#: What PyTorch's cross entropy passes over.
IGNORED = -100


@dataclass(frozen=True)
class Conversation:
    """A sample as tokens.

    Attributes:
        token_ids: What the model reads.
        labels: For each token the id itself where the assistant speaks, else `IGNORED`.
        mentions: For each target of each turn, in their order, the token that ends its label in the question; None
            where the question does not name it.
    """

    token_ids: list[int]
    labels: list[int]
    mentions: tuple[int | None, ...] = ()


def encode(
    sample: GroundingSample, tokenizer: Tokenizer, image_tokens: Sequence[int], shown: tuple[int, int]
) -> Conversation:
    """Return a sample as a conversation in Qwen2.5-VL's layout: pictures first, then question and answer in turns.

    Labels cover what the assistant says and the mark that ends it, nothing else.

    Args:
        sample: The sample.
        tokenizer: The policy's.
        image_tokens: For each picture, how many tokens it becomes.
        shown: Width and height of the first picture as the model sees it.

    Raises:
        DatasetError: A text holds the beginning of a special token.
    """
    pictures = "".join(f"<|vision_start|>{IMAGE_TOKEN * count}<|vision_end|>" for count in image_tokens)
    ids: list[int] = []
    labels: list[int] = []
    mentions: list[int | None] = []

    def say(text: str, *, learn: bool) -> Encoding:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        ids.extend(encoding.ids)
        labels.extend(encoding.ids if learn else [IGNORED] * len(encoding.ids))
        return encoding

    say(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n", learn=False)
    for index, turn in enumerate(sample.turns):
        answer = answer_text(turn, sample.task, sample.size, shown)
        if "<|" in turn.question or "<|" in answer:
            msg = f"sample {sample.id!r} holds '<|', which begins a special token; leave it out"
            raise DatasetError(msg)
        first, before = len(ids), f"<|im_start|>user\n{'' if index else pictures}"
        question = say(f"{before}{turn.question}<|im_end|>\n<|im_start|>assistant\n", learn=False)
        for target in turn.targets:
            start = turn.question.find(target.label)
            last = None if start < 0 else question.char_to_token(len(before) + start + len(target.label) - 1)
            mentions.append(None if last is None else first + last)
        say(f"{answer}<|im_end|>", learn=True)
        say("\n", learn=False)
    return Conversation(ids, labels, tuple(mentions))


def prompt_of(conversation: Conversation) -> list[int]:
    """Return the token ids before the assistant's first word."""
    first = next(index for index, label in enumerate(conversation.labels) if label != IGNORED)
    return conversation.token_ids[:first]
