from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from st4vla.training.checkpoint import Checkpoint, init_checkpoint
from st4vla.training.grounding.answering import answer_greedily
from st4vla.training.grounding.conversation import encode, prompt_of
from st4vla.training.grounding.samples import GroundingSample, Task, Turn
from st4vla.training.model.planner import hidden_states

QUESTIONS = ("What is it?", "Where is the red cube, and what lies to the left of it?", "Why?")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return init_checkpoint("tiny", 1)


@pytest.fixture(scope="module")
def prompts(checkpoint: Checkpoint) -> list[tuple[Sequence[Tensor], Sequence[int]]]:
    """Prompts of unequal lengths, on pictures of unequal sizes, one of them on two."""
    found: list[tuple[Sequence[Tensor], Sequence[int]]] = []
    for number, question in enumerate(QUESTIONS):
        generator = torch.Generator().manual_seed(number)
        sizes = [(56, 56 + 28 * number)] * (1 + number // 2)
        pictures = [torch.randint(256, (*size, 3), dtype=torch.uint8, generator=generator) for size in sizes]
        names = tuple(f"{index}.png" for index in range(len(pictures)))
        sample = GroundingSample("x", Task.GENERAL, names, (56, 56), (Turn(question, "It."),))
        tokens = [height * width // 28**2 for height, width in sizes]
        found.append((pictures, prompt_of(encode(sample, checkpoint.tokenizer, tokens, (56, 56)))))
    return found


def test_each_answer_is_the_most_likely_token_after_token(
    checkpoint: Checkpoint, prompts: list[tuple[Sequence[Tensor], Sequence[int]]]
) -> None:
    planner, config = checkpoint.policy.qwen_vl_interface.model, checkpoint.policy.config.planner
    for (pictures, prompt), said in zip(prompts, answer_greedily(checkpoint.policy, prompts, 4), strict=True):
        assert 0 < len(said) <= 4
        for index, token in enumerate(said):
            ids = torch.tensor([[*prompt, *said[:index]]])
            with torch.no_grad():
                logits = planner.lm_head(hidden_states(planner, config, pictures, ids)[-1][0, -1])
            assert int(logits.argmax()) == token


def test_an_answer_does_not_depend_on_who_else_asks(
    checkpoint: Checkpoint, prompts: list[tuple[Sequence[Tensor], Sequence[int]]]
) -> None:
    together = answer_greedily(checkpoint.policy, prompts, 6)
    assert [answer_greedily(checkpoint.policy, [prompt], 6)[0] for prompt in prompts] == together
