"""Tests of writing answers in the model's pixels, and of reading boxes back."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st4vla.training.grounding.answers import answer_text, parse_boxes
from st4vla.training.grounding.samples import Target, Task, Turn

LABELS = st.text(max_size=20)


def boxed(*targets: Target) -> Turn:
    return Turn("where?", targets=targets)


def test_a_box_is_written_in_the_pixels_of_the_picture_as_shown() -> None:
    turn = boxed(Target("red cube", box=(10.0, 20.0, 110.0, 220.0)))
    text = answer_text(turn, Task.BOX, (200, 400), (100, 100))
    assert text == '[{"bbox_2d": [5, 5, 55, 55], "label": "red cube"}]'


def test_points_and_trajectories_have_keys_of_their_own() -> None:
    point = boxed(Target("杯子", points=((10.0, 20.0),)))
    assert answer_text(point, Task.POINT, (100, 100), (200, 50)) == '[{"point_2d": [20, 10], "label": "杯子"}]'
    assert "point_2d" in answer_text(point, Task.AFFORDANCE_POINT, (100, 100), (200, 50))
    path = boxed(Target("push", points=((0.0, 0.0), (100.0, 100.0))))
    expected = '[{"trajectory_2d": [[0, 0], [199, 49]], "label": "push"}]'
    assert answer_text(path, Task.TRAJECTORY, (100, 100), (200, 50)) == expected


def test_several_targets_are_one_list() -> None:
    turn = boxed(Target("a", box=(0, 0, 1, 1)), Target("b", box=(1, 1, 2, 2)))
    assert [entry["label"] for entry in json.loads(answer_text(turn, Task.AFFORDANCE_REGION, (9, 9), (9, 9)))] == [
        "a",
        "b",
    ]


def test_an_answer_in_words_stays_as_it_is() -> None:
    assert answer_text(Turn("where?", "left"), Task.RELATION, (1, 1), (1, 1)) == "left"


def test_targets_that_do_not_fit_the_task_are_refused() -> None:
    box, path = boxed(Target("a", box=(0, 0, 1, 1))), boxed(Target("a", points=((0, 0), (1, 1))))
    size = (9, 9)
    with pytest.raises(ValueError, match="'box' needs a box; it has points"):
        answer_text(path, Task.BOX, size, size)
    with pytest.raises(ValueError, match="needs one point; it has 2"):
        answer_text(path, Task.POINT, size, size)
    with pytest.raises(ValueError, match="needs one point; it has 0"):
        answer_text(box, Task.TRAJECTORY, size, size)
    with pytest.raises(ValueError, match="'relation' is answered in words"):
        answer_text(box, Task.RELATION, size, size)
    with pytest.raises(ValueError, match="sizes must be positive"):
        answer_text(box, Task.BOX, size, (0, 5))


@settings(deadline=None)
@given(st.data(), st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 3000))
def test_a_box_keeps_a_pixel_stays_inside_and_is_read_back_as_written(
    data: st.DataObject, width: int, height: int, shown_width: int, shown_height: int
) -> None:
    x = sorted(data.draw(st.lists(st.floats(0, width), min_size=2, max_size=2, unique=True)))
    y = sorted(data.draw(st.lists(st.floats(0, height), min_size=2, max_size=2, unique=True)))
    label = data.draw(LABELS)
    turn = boxed(Target(label, box=(x[0], y[0], x[1], y[1])))
    text = answer_text(turn, Task.BOX, (width, height), (shown_width, shown_height))
    (read,) = parse_boxes(f"Here it is: {text} and {{some [garbage")
    assert read.label == label
    assert read.box is not None
    x1, y1, x2, y2 = read.box
    assert 0 <= x1 < x2 <= shown_width
    assert 0 <= y1 < y2 <= shown_height
    assert json.loads(text)[0]["bbox_2d"] == list(read.box)
    # Half a pixel from rounding, and one more where a box would have rounded to nothing.
    assert abs(x1 - x[0] * shown_width / width) <= 1.5
    assert abs(y2 - y[1] * shown_height / height) <= 1.5


@settings(deadline=None)
@given(st.data(), st.integers(1, 3000), st.integers(1, 3000))
def test_a_point_lies_on_a_pixel(data: st.DataObject, width: int, height: int) -> None:
    x, y = data.draw(st.floats(0, 640)), data.draw(st.floats(0, 480))
    text = answer_text(boxed(Target("a", points=((x, y),))), Task.POINT, (640, 480), (width, height))
    column, row = json.loads(text)[0]["point_2d"]
    assert 0 <= column < width
    assert 0 <= row < height


@settings(deadline=None)
@given(st.text())
def test_any_text_can_be_read_for_boxes(text: str) -> None:
    assert parse_boxes(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no idea",
        '[{"bbox_2d": [1, 2, 3], "label": "a"}]',
        '[{"bbox_2d": [5, 5, 5, 9], "label": "empty"}]',
        '[{"bbox_2d": [9, 9, 1, 1], "label": "inside out"}]',
        '[{"bbox_2d": [1, 2, 1e999, 4]}]',
        '[{"bbox_2d": [0, 0, NaN, 4]}]',
        '[{"bbox_2d": [0, 0, true, 4]}]',
        '[{"bbox_2d": [0, 0, "7", 4]}]',
        f'[{{"bbox_2d": [0, 0, {"9" * 400}, 4]}}]',
        f'[{{"bbox_2d": [0, 0, {"9" * 5000}, 4]}}]',
        '{"a":' * 2000,
        '[{"bbox_2d": [1, 2, 3, 4',
    ],
)
def test_what_is_no_box_gives_none(text: str) -> None:
    assert parse_boxes(text) == []


@pytest.mark.parametrize(
    "text",
    [
        '```json\n[\n\t{"bbox_2d": [1, 2, 3, 4], "label": "cup {blue}"}\n]\n```',
        '{"bbox_2d": [1, 2, 3, 4], "label": "cup {blue}"}<|im_end|>',
        '[{"bbox_2d": [1, 2, 3, 4], "label": "cup {blue}"}, {"bbox_2d": [5, 6',
        '{"objects": [{"bbox_2d": [1.0, 2, 3, 4], "label": "cup {blue}"}]}',
    ],
)
def test_a_box_is_found_in_fences_prose_and_cut_off_lists(text: str) -> None:
    assert parse_boxes(text) == [Target("cup {blue}", box=(1, 2, 3, 4))]
