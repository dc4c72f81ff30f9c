"""Tests of the wordings and of how one is chosen."""

import pytest

from st4vla.training.grounding.questions import BOX_FOR_INSTRUCTION, WORDINGS, ask, choose, with_article
from st4vla.training.grounding.samples import Task

WORDS = {"thing": "the cup", "instruction": "take it", "first": "cup", "second": "pan", "options": "left or right of"}


def test_every_task_but_the_general_one_has_several_wordings() -> None:
    assert set(WORDINGS) == set(Task) - {Task.GENERAL}
    assert all(len(set(wordings)) >= 3 for wordings in (*WORDINGS.values(), BOX_FOR_INSTRUCTION))


@pytest.mark.parametrize("wordings", [*WORDINGS.values(), BOX_FOR_INSTRUCTION])
def test_every_wording_of_a_task_is_asked_and_is_filled_in(wordings: tuple[str, ...]) -> None:
    asked = {ask(wordings, f"id {number}", seed=0, **WORDS) for number in range(100)}
    assert len(asked) == len(wordings)
    assert not any("{" in question for question in asked)


def test_the_wording_depends_on_id_and_seed_and_not_on_the_process() -> None:
    wordings = WORDINGS[Task.BOX]
    chosen = [choose(wordings, str(number), seed=0) for number in range(50)]
    assert chosen == [choose(wordings, str(number), seed=0) for number in range(50)]
    assert chosen != [choose(wordings, str(number), seed=1) for number in range(50)]
    # The value itself, which another process must give too.
    assert choose(range(1000), "a", seed=0) == 909


def test_braces_in_a_phrase_are_left_alone() -> None:
    assert "a {0} cup" in ask(WORDINGS[Task.BOX], "1", seed=0, thing="a {0} cup")


def test_a_blank_phrase_is_refused() -> None:
    with pytest.raises(ValueError, match="thing to ask for is blank"):
        ask(WORDINGS[Task.BOX], "1", seed=0, thing=" ")
    with pytest.raises(ValueError, match="nothing to choose from"):
        choose([], "1", seed=0)


@pytest.mark.parametrize(
    ("phrase", "expected"), [("red cube", "the red cube"), ("The cube", "The cube"), ("his hat", "his hat"), (" ", " ")]
)
def test_an_article_is_added_where_there_is_none(phrase: str, expected: str) -> None:
    assert with_article(phrase) == expected
