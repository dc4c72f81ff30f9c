"""Answers as Qwen2.5-VL writes them: JSON, in whole pixels of the picture as the model sees it."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

from st4vla.training.grounding.samples import Target, Task, Turn

#: What a task's targets are called in the answer. The first two names are Qwen2.5-VL's own; the third follows them.
KEYS = {
    Task.BOX: "bbox_2d",
    Task.AFFORDANCE_REGION: "bbox_2d",
    Task.POINT: "point_2d",
    Task.AFFORDANCE_POINT: "point_2d",
    Task.TRAJECTORY: "trajectory_2d",
}

_DECODER = json.JSONDecoder()


def answer_text(turn: Turn, task: Task, size: tuple[int, int], shown: tuple[int, int]) -> str:
    """Write the answer of a turn.

    Args:
        turn: The turn; one that is answered in words keeps its words.
        task: What the sample teaches; it says what the targets are.
        size: Width and height of the picture on disk, which the targets are measured in.
        shown: Width and height after resizing, which the answer is written in.

    Returns:
        A JSON list with one object a target. Numbers are rounded, points lie on a pixel of the picture, and a box has
        at least one pixel; its far edges are exclusive and may be the picture's.

    Raises:
        ValueError: A target does not fit the task, or a size is not positive.
    """
    if not turn.targets:
        return turn.answer
    if task not in KEYS:
        msg = f"task {task.value!r} is answered in words; got targets; tasks with targets: {_names()}"
        raise ValueError(msg)
    if min(*size, *shown) <= 0:
        msg = f"sizes must be positive; got {size} on disk and {shown} as shown"
        raise ValueError(msg)
    scale = shown[0] / size[0], shown[1] / size[1]
    answers = [{KEYS[task]: _place(target, task, scale, shown), "label": target.label} for target in turn.targets]
    return json.dumps(answers, ensure_ascii=False)


def parse_boxes(text: str) -> list[Target]:
    """Read boxes back out of what a model wrote.

    Objects are read one by one, so that a code fence, prose before or after, or a list that was cut off does not
    lose those that are whole. An object without ``bbox_2d`` may hold others that have it; one whose box is empty or
    inside out is passed over.

    Args:
        text: Anything.

    Returns:
        The boxes in their order, labels as written ("" where there is none); empty when there is no box.
    """
    found = []
    position = text.find("{")
    while position >= 0:
        after = position + 1
        # RecursionError: braces nested without end, which a model in a loop does write.
        with contextlib.suppress(ValueError, RecursionError):
            value, end = _DECODER.raw_decode(text, position)
            target = _target(value)
            if target is not None:
                found.append(target)
                after = end
        position = text.find("{", after)
    return found


def _place(target: Target, task: Task, scale: tuple[float, float], shown: tuple[int, int]) -> list[Any]:
    if KEYS[task] == "bbox_2d":
        if target.box is None:
            msg = f"target {target.label!r} of task {task.value!r} needs a box; it has points"
            raise ValueError(msg)
        left, right = _span(target.box[0] * scale[0], target.box[2] * scale[0], shown[0])
        top, bottom = _span(target.box[1] * scale[1], target.box[3] * scale[1], shown[1])
        return [left, top, right, bottom]
    points = [[_pixel(x * scale[0], shown[0]), _pixel(y * scale[1], shown[1])] for x, y in target.points]
    if task is Task.TRAJECTORY and points:
        return points
    if len(points) != 1:
        msg = f"target {target.label!r} of task {task.value!r} needs one point; it has {len(points)}"
        raise ValueError(msg)
    return points[0]


def _pixel(value: float, length: int) -> int:
    return min(max(round(value), 0), length - 1)


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    """Round both edges; one pixel is left of what would round to nothing."""
    first = _pixel(low, length)
    return first, min(max(round(high), first + 1), length)


def _target(value: Any) -> Target | None:
    box, label = value.get("bbox_2d"), value.get("label", "")
    if not isinstance(box, list) or len(box) != 4:
        return None
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in box):
        return None
    try:
        x1, y1, x2, y2 = (float(number) for number in box)
        if not all(map(math.isfinite, (x1, y1, x2, y2))):
            return None
        return Target(label if isinstance(label, str) else str(label), box=(x1, y1, x2, y2))
    # OverflowError: an integer beyond any float. ValueError: an empty box.
    except (OverflowError, ValueError):
        return None


def _names() -> str:
    return ", ".join(task.value for task in KEYS)
