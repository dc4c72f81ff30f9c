"""From an instruction to the text that System 2 reads.

The chat layout is Qwen2.5-VL's: one user turn with the views first, then the text. What stands before the first
change of instruction is constant, so the image tokens lie at fixed slots of every prompt of a bundle.
"""

from __future__ import annotations

import msgspec

from st4vla.contracts.errors import PromptError

PLACEHOLDER = "{instruction}"
IMAGE_TOKEN = "<|image_pad|>"  # noqa: S105

#: Spatial prompts by name. `generic` is the one in figure 2 of the InternVLA-M1 report (arXiv 2510.13778), whose second
#: sentence the ST4VLA paper (arXiv 2602.10109) calls its unified prompt; `grounding` is that of the released
#: configurations.
SPATIAL_PROMPTS: dict[str, str] = {
    "none": PLACEHOLDER,
    "generic": f"Your task is to {PLACEHOLDER}. Figure out how to execute it, then locate the key object needed.",
    "grounding": (
        f"Your task is {PLACEHOLDER}. To identify the key objects for your task. "
        "Locate their bounding boxes in [x1,y1,x2,y2] format."
    ),
}


class PromptSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a policy was trained to be spoken to.

    Attributes:
        template: Name in `SPATIAL_PROMPTS`, or the user's own text with ``{instruction}`` in it.
        view_count: V.
        tokens_per_view: Image tokens that a view becomes.
        max_tokens: Longest prompt that the planner takes, image tokens included.
        lowercase: Whether instructions are lower-cased; the same in training and at run time.
        system: The system turn.
    """

    template: str
    view_count: int
    tokens_per_view: int
    max_tokens: int
    lowercase: bool = False
    system: str = "You are a helpful assistant."

    def __post_init__(self) -> None:
        """Refuse a template without a place for the instruction."""
        spatial_template(self.template)

    @property
    def head(self) -> str:
        """What stands before the instruction's turn: the same for every instruction."""
        views = f"<|vision_start|>{IMAGE_TOKEN * self.tokens_per_view}<|vision_end|>" * self.view_count
        return f"<|im_start|>system\n{self.system}<|im_end|>\n<|im_start|>user\n{views}"

    def render(self, instruction: str) -> str:
        """Return the whole prompt for an instruction.

        Raises:
            PromptError: An empty instruction, or one with a special token in it.
        """
        text = " ".join(instruction.split())
        if not text:
            msg = "the instruction is empty; say what the robot is to do"
            raise PromptError(msg)
        if "<|" in text:
            msg = f"the instruction {text!r} holds '<|', which begins a special token; leave it out"
            raise PromptError(msg)
        text = text.lower() if self.lowercase else text
        body = spatial_template(self.template).replace(PLACEHOLDER, text)
        return f"{self.head}{body}<|im_end|>\n<|im_start|>assistant\n"


def spatial_template(template: str) -> str:
    """Return the text of a named spatial prompt, or the user's own.

    Raises:
        PromptError: Neither a known name nor a text with ``{instruction}`` in it.
    """
    text = SPATIAL_PROMPTS.get(template, template)
    if PLACEHOLDER not in text:
        names = ", ".join(SPATIAL_PROMPTS)
        msg = f"unknown spatial prompt {template!r}; use one of {names}, or a text of your own with {PLACEHOLDER} in it"
        raise PromptError(msg)
    return text
