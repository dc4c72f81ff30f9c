"""Questions, each task in several wordings; which one a sample gets depends on its id and a seed only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

from st4vla.training.grounding.samples import Task

T = TypeVar("T")

#: Wordings by task. ``{thing}`` is what is looked for, with its article; ``{instruction}`` is what the robot is told;
#: a relation has ``{first}``, ``{second}`` and ``{options}``. `Task.GENERAL` brings its own questions.
WORDINGS: Mapping[Task, tuple[str, ...]] = {
    Task.BOX: (
        "Locate {thing}.",
        "Where is {thing}? Answer with its bounding box as JSON.",
        "Draw a box around {thing} and write its corners in pixels.",
        "Find {thing} in the picture and give bbox_2d and label.",
    ),
    Task.POINT: (
        "Point to {thing}.",
        "Which pixel is in the middle of {thing}? Answer with point_2d as JSON.",
        "Put one point on {thing}.",
        "Mark {thing} with a point in pixels.",
    ),
    Task.AFFORDANCE_POINT: (
        'The robot is told: "{instruction}". Where should it make contact first?',
        'To "{instruction}", which point should the gripper touch? Answer with point_2d as JSON.',
        'Mark the contact point for: "{instruction}".',
    ),
    Task.AFFORDANCE_REGION: (
        'The robot is told: "{instruction}". Which region can it grasp or touch for that?',
        'Box the part that the gripper should use to "{instruction}".',
        'Mark the contact region for "{instruction}" as bbox_2d in JSON.',
    ),
    Task.TRAJECTORY: (
        'The robot is told: "{instruction}". Which way should the contact point move in the picture?',
        'Draw the path, from contact to end, that does this: "{instruction}". Answer with trajectory_2d as JSON.',
        'Give waypoints in pixels for: "{instruction}".',
    ),
    Task.RELATION: (
        "Is the {first} {options} the {second}?",
        "As the camera sees it, is the {first} {options} the {second}?",
        "Look at the {second}: is the {first} {options} it?",
    ),
}

#: Wordings for a box when the data set names its thing by an instruction rather than by a phrase.
BOX_FOR_INSTRUCTION = (
    'The robot is told: "{instruction}". Locate what is meant.',
    'Which object does this ask for: "{instruction}"? Answer with its bounding box as JSON.',
    'Give bbox_2d and label of the object in: "{instruction}".',
)

_DETERMINERS = {"the", "a", "an", "this", "that", "these", "those", "his", "her", "their", "my", "your"}


def ask(wordings: Sequence[str], sample_id: str, *, seed: int, **words: str) -> str:
    """Return one of the wordings, filled in; the same id and seed give the same one on every machine.

    Args:
        wordings: Templates, such as those of `WORDINGS`.
        sample_id: The sample's id.
        seed: Shuffles the choice for the whole data set.
        words: What the templates name.

    Raises:
        ValueError: A word is blank.
    """
    for name, word in words.items():
        if not word.strip():
            msg = f"the {name} to ask for is blank"
            raise ValueError(msg)
    return choose(wordings, sample_id, seed=seed).format(**{name: word.strip() for name, word in words.items()})


def choose(options: Sequence[T], sample_id: str, *, seed: int) -> T:
    """Choose one of several by a sample's id and a seed: by SHA-256, for `hash` differs from process to process.

    Raises:
        ValueError: There is nothing to choose from.
    """
    if not options:
        msg = f"nothing to choose from for sample {sample_id!r}"
        raise ValueError(msg)
    digest = hashlib.sha256(f"{seed}:{sample_id}".encode()).digest()
    return options[int.from_bytes(digest[:8], "little") % len(options)]


def with_article(phrase: str) -> str:
    """Put "the" before a phrase that begins without article or possessive: "red cube" becomes "the red cube"."""
    first = phrase.split()[:1]
    return f"the {phrase}" if first and first[0].lower() not in _DETERMINERS else phrase
