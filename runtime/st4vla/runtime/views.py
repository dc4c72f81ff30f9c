"""From an observation's views to the array that the graphs take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import simplejpeg

from st4vla.contracts.errors import ObservationError
from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import ImageEncoding, Observation, View

#: 36 years: no monotonic clock shows more, and no sum of a few such times is too long for the wire.
LONGEST_NS = 2**60


def check_views(observation: Observation, specs: Sequence[ViewSpec]) -> None:
    """Check all that can be known of the views without decoding them.

    Raises:
        ObservationError: Views of other names, number or size than the bundle's, captured after they were sent, or a
            time that no clock shows.
    """
    given = {view.name: view for view in observation.views}
    captured_ns = [view.capture_ns for view in observation.views]
    newest_ns = max(captured_ns)
    times_ns = (*captured_ns, observation.sent_ns, observation.held_received_ns)
    if max(times_ns) > LONGEST_NS or min(times_ns) < -LONGEST_NS:
        msg = f"a time of {max(times_ns, key=abs)} ns; no monotonic clock shows more than {LONGEST_NS}"
        raise ObservationError(msg)
    if observation.sent_ns and newest_ns > observation.sent_ns:
        late_ns = newest_ns - observation.sent_ns
        msg = f"a view was captured {late_ns} ns after it was sent; use one monotonic clock for both times"
        raise ObservationError(msg)
    if len(given) != len(observation.views) or given.keys() != {spec.name for spec in specs}:
        expected, names = [spec.name for spec in specs], [view.name for view in observation.views]
        msg = f"observation with the views {names}; this bundle takes {len(expected)}: {expected}"
        raise ObservationError(msg)
    for spec in specs:
        view = given[spec.name]
        if (view.height, view.width) != (spec.height, spec.width):
            msg = (
                f"view {view.name!r} is {view.height} x {view.width} pixels; this bundle takes "
                f"{spec.height} x {spec.width}: resize it before sending"
            )
            raise ObservationError(msg)


def stack_views(observation: Observation, specs: Sequence[ViewSpec]) -> npt.NDArray[np.uint8]:
    """Return checked views as uint8 [V, H, W, 3] in the bundle's order, decoded and copied where they must be.

    Raw views that lie in the message in that order and side by side are the message's own bytes, read-only.

    Raises:
        ObservationError: A broken JPEG.
    """
    given = {view.name: view for view in observation.views}
    in_order = [view.name for view in observation.views] == [spec.name for spec in specs]
    in_place = _side_by_side(observation.views) if in_order else None
    if in_place is not None:
        return in_place
    stacked = np.empty((len(specs), specs[0].height, specs[0].width, 3), np.uint8)
    for row, spec in zip(stacked, specs, strict=True):
        row[...] = _pixels(given[spec.name], spec)
    return stacked


def _side_by_side(views: Sequence[View]) -> npt.NDArray[np.uint8] | None:
    """Return raw views of one size as one array without a copy, or None when they do not lie so."""
    first = views[0]
    stretch, size = first.data.base, first.data.nbytes
    # The decoder makes parts of one array of what fills a stretch of the message, in the message's order.
    if not isinstance(stretch, np.ndarray) or stretch.nbytes != len(views) * size:
        return None
    for view in views:
        if view.encoding is not ImageEncoding.RGB8 or view.data.nbytes != size or view.data.base is not stretch:
            return None
    stacked = stretch.reshape(len(views), first.height, first.width, 3)
    stacked.flags.writeable = False
    return stacked


def _pixels(view: View, spec: ViewSpec) -> npt.NDArray[np.uint8]:
    if view.encoding is ImageEncoding.RGB8:
        return view.pixels
    try:
        # Of a copy: a client on this machine might write into the memory that it shares, and decoders look twice.
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(view.data.tobytes(), "RGB")
    except ValueError as error:
        msg = f"view {view.name!r} is not a JPEG that can be decoded: {error}"
        raise ObservationError(msg) from error
    if pixels.shape[:2] != (spec.height, spec.width):
        msg = f"view {view.name!r} announces {spec.height} x {spec.width} pixels; its JPEG holds {pixels.shape[:2]}"
        raise ObservationError(msg)
    return pixels
