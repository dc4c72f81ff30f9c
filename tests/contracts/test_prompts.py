import pytest

from st4vla.contracts.errors import PromptError
from st4vla.contracts.prompts import IMAGE_TOKEN, SPATIAL_PROMPTS, PromptSpec


def spec(template: str, *, lowercase: bool = False) -> PromptSpec:
    return PromptSpec(template, view_count=2, tokens_per_view=4, max_tokens=128, lowercase=lowercase)


@pytest.mark.parametrize("template", sorted(SPATIAL_PROMPTS))
def test_views_come_first_at_slots_that_no_instruction_moves(template: str) -> None:
    prompts = [spec(template).render(text) for text in ("lift", "put the red cube into the bowl")]
    assert all(prompt.startswith(spec(template).head) for prompt in prompts)
    assert all(prompt.count(IMAGE_TOKEN) == 8 for prompt in prompts)
    assert prompts[0].endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_the_grounding_prompt_is_the_one_of_the_released_configurations() -> None:
    expected = (
        "Your task is lift the cup. To identify the key objects for your task. "
        "Locate their bounding boxes in [x1,y1,x2,y2] format.<|im_end|>"
    )
    assert expected in spec("grounding").render("lift the cup")


def test_a_users_own_template_is_taken_as_it_stands() -> None:
    assert "Do this now: lift it!<|im_end|>" in spec("Do this now: {instruction}!").render("lift it")


def test_lower_case_is_a_choice_of_the_policy() -> None:
    assert "Lift IT" in spec("none").render("Lift IT")
    assert "lift it" in spec("none", lowercase=True).render("Lift IT")


def test_what_cannot_become_a_prompt_is_refused_with_the_remedy() -> None:
    with pytest.raises(PromptError, match="unknown spatial prompt 'boxes'; use one of none, generic, grounding"):
        spec("boxes")
    with pytest.raises(PromptError, match="begins a special token"):
        spec("none").render("lift <|image_pad|>")
    with pytest.raises(PromptError, match="empty"):
        spec("none").render("  ")
