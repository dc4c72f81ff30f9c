import numpy as np
import pytest

from st4vla.contracts.errors import ObservationError
from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import Observation, View
from st4vla.contracts.wire import decode, encode
from st4vla.runtime.views import check_views, stack_views

SPECS = [ViewSpec("agentview", 16, 12), ViewSpec("wrist", 16, 12)]
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 16, 12, 3), np.uint8)


def received(*names: str, pixels: np.ndarray = PIXELS) -> Observation:
    views = tuple(View.from_pixels(name, picture, 1) for name, picture in zip(names, pixels, strict=True))
    decoded = decode(bytes(encode(Observation(1, views, "lift", sent_ns=2))))
    assert isinstance(decoded, Observation)
    return decoded


def test_views_side_by_side_in_the_bundles_order_are_the_messages_own_bytes() -> None:
    observation = received("agentview", "wrist")
    views = stack_views(observation, SPECS)
    np.testing.assert_array_equal(views, PIXELS)
    assert np.shares_memory(views, observation.views[0].data)
    assert views.flags.c_contiguous
    assert not views.flags.writeable


def test_views_in_another_order_are_copied_into_the_bundles() -> None:
    observation = received("wrist", "agentview")
    views = stack_views(observation, SPECS)
    np.testing.assert_array_equal(views, PIXELS[::-1])
    assert not np.shares_memory(views, observation.views[0].data)


def test_views_with_a_gap_between_them_are_copied() -> None:
    specs = [ViewSpec("agentview", 5, 3), ViewSpec("wrist", 5, 3)]
    pixels = np.ascontiguousarray(PIXELS[:, :5, :3])
    observation = received("agentview", "wrist", pixels=pixels)
    np.testing.assert_array_equal(stack_views(observation, specs), pixels)


def test_views_that_were_never_in_a_message_are_copied() -> None:
    views = tuple(View.from_pixels(spec.name, picture, 1) for spec, picture in zip(SPECS, PIXELS, strict=True))
    np.testing.assert_array_equal(stack_views(Observation(1, views, "lift"), SPECS), PIXELS)


def test_a_view_captured_after_it_was_sent_is_refused() -> None:
    views = tuple(View.from_pixels(spec.name, picture, 7) for spec, picture in zip(SPECS, PIXELS, strict=True))
    with pytest.raises(ObservationError, match="captured 2 ns after it was sent"):
        check_views(Observation(1, views, "lift", sent_ns=5), SPECS)


@pytest.mark.parametrize("times", [{"captured_ns": -(2**62)}, {"sent_ns": 2**62}, {"held_received_ns": -(2**63)}])
def test_a_time_that_no_clock_shows_is_refused(times: dict[str, int]) -> None:
    """Ages that come of it would not fit into a chunk."""
    captured_ns = times.pop("captured_ns", 1)
    views = tuple(
        View.from_pixels(spec.name, picture, captured_ns) for spec, picture in zip(SPECS, PIXELS, strict=True)
    )
    with pytest.raises(ObservationError, match="no monotonic clock shows more"):
        check_views(Observation(1, views, "lift", **{"sent_ns": 5, **times}), SPECS)
