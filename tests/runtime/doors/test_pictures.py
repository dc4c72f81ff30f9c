import numpy as np
import pytest

from st4vla.contracts.errors import ObservationError, UsageError
from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import MAX_INSTRUCTION_BYTES
from st4vla.runtime.doors.pictures import ViewKeys, checked_instruction, make_view
from st4vla.runtime.framing import fit

SPECS = (ViewSpec("agentview", 8, 8), ViewSpec("wrist", 8, 8))
USUAL = (("image", "image_0"), ("wrist_image",))


def picture(height: int = 8, width: int = 8, level: int = 0) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    view = make_view(SPECS[0], pixels, "image", 5)
    assert (view.name, view.capture_ns) == ("agentview", 5)
    np.testing.assert_array_equal(view.pixels, pixels)


def test_another_size_is_fitted() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(make_view(SPECS[0], pixels, "image", 5).pixels, fit(pixels, 8, 8))


def test_colours_first_are_put_last() -> None:
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    np.testing.assert_array_equal(make_view(SPECS[0], pixels.transpose(2, 0, 1), "image", 5).pixels, pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        None,
        [[1]],
        picture().astype(np.float32),
        picture()[0],
        picture()[..., :1],
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 0, 3), np.uint8),
        np.zeros((1, 9000, 3), np.uint8),
    ],
    ids=lambda pixels: getattr(pixels, "shape", pixels),
)
def test_what_is_no_picture_is_refused_by_its_key(pixels: object) -> None:
    with pytest.raises(ObservationError, match="'front'"):
        make_view(SPECS[0], pixels, "front", 5)


def test_each_view_is_taken_from_the_first_of_its_keys_that_is_there() -> None:
    keys = ViewKeys(SPECS, [], USUAL)
    views = keys.take({"image_0": picture(level=1), "wrist": picture(level=2), "other": 3}, 5)
    assert [(view.name, int(view.data[0])) for view in views] == [("agentview", 1), ("wrist", 2)]
    assert keys.first_choices == ("image", "wrist_image")


def test_given_keys_go_first_and_serve_one_view_only() -> None:
    keys = ViewKeys(SPECS, [("image", "wrist"), ("front", "agentview")], USUAL)
    assert keys.first_choices == ("front", "image")
    views = keys.take({"image": picture(level=1), "front": picture(level=2)}, 5)
    assert [int(view.data[0]) for view in views] == [2, 1]
    with pytest.raises(ObservationError, match=r"'agentview'.*'front' or 'image_0'.*holds 'image'"):
        keys.take({"image": picture()}, 5)


def test_a_key_for_a_view_that_the_bundle_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match=r"plann=fresh names no view.*agentview, wrist.*nor is plann an option"):
        ViewKeys(SPECS, [("plann", "fresh")], USUAL)


def test_an_instruction_may_come_in_lists_of_one() -> None:
    assert checked_instruction([["lift"]], "prompt") == "lift"


@pytest.mark.parametrize("text", [None, 3, [], ["a", "b"], b"lift", {}, "x" * (MAX_INSTRUCTION_BYTES + 1)], ids=repr)
def test_what_is_no_instruction_is_refused(text: object) -> None:
    with pytest.raises(ObservationError, match="'prompt'"):
        checked_instruction(text, "prompt")
