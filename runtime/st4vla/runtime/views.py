"""From an observation's views to the array that the graphs take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import simplejpeg

from st4vla.contracts.errors import ObservationError
from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import ImageEncoding, Observation, View


def check_views(observation: Observation, specs: Sequence[ViewSpec]) -> None:
    """Check all that can be known of the views without decoding them.

    Raises:
        ObservationError: Views of other names, number or size than the bundle's, or captured after they were sent.
    """
    given = {view.name: view for view in observation.views}
    newest_ns = max(view.capture_ns for view in observation.views)
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
    in_place = _side_by_side([given[spec.name] for spec in specs])
    if in_place is not None:
        return in_place
    stacked = np.empty((len(specs), specs[0].height, specs[0].width, 3), np.uint8)
    for row, spec in zip(stacked, specs, strict=True):
        row[...] = _pixels(given[spec.name], spec)
    return stacked


def _side_by_side(views: Sequence[View]) -> npt.NDArray[np.uint8] | None:
    """Return raw views of one size as one array without a copy, or None when they do not lie so."""
    first = views[0]
    size, owner, start = first.data.nbytes, _owner(first), _address(first)
    for index, view in enumerate(views):
        same = view.encoding is ImageEncoding.RGB8 and view.data.nbytes == size and _owner(view) is owner
        if not same or owner is None or _address(view) != start + index * size:
            return None
    shape = (len(views), first.height, first.width, 3)
    strides = (size, first.width * 3, 3, 1)
    return np.lib.stride_tricks.as_strided(first.data, shape, strides, writeable=False)


def _owner(view: View) -> object:
    """Return the message that a view's bytes lie in, or None for an array of somebody's own."""
    base = view.data.base
    if isinstance(base, memoryview):
        return base.obj
    return base if isinstance(base, bytes) else None


def _address(view: View) -> int:
    return int(view.data.__array_interface__["data"][0])


def _pixels(view: View, spec: ViewSpec) -> npt.NDArray[np.uint8]:
    if view.encoding is ImageEncoding.RGB8:
        return view.pixels
    try:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(view.data, "RGB")
    except ValueError as error:
        msg = f"view {view.name!r} is not a JPEG that can be decoded: {error}"
        raise ObservationError(msg) from error
    if pixels.shape[:2] != (spec.height, spec.width):
        msg = f"view {view.name!r} announces {spec.height} x {spec.width} pixels; its JPEG holds {pixels.shape[:2]}"
        raise ObservationError(msg)
    return pixels
