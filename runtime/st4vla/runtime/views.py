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
    first, buffer = views[0], views[0].data.base
    if not isinstance(buffer, bytes | memoryview):
        # An array of somebody's own.
        return None
    size, owner, start = first.data.nbytes, _owner(buffer), _address(first.data)
    for index, view in enumerate(views):
        same = view.encoding is ImageEncoding.RGB8 and view.data.nbytes == size and _owner(view.data.base) is owner
        if not same or _address(view.data) != start + index * size:
            return None
    # Not `as_strided`, which takes several times as long.
    message = np.frombuffer(buffer, np.uint8)
    stacked = message[start - _address(message) :][: len(views) * size].reshape(len(views), first.height, -1, 3)
    stacked.flags.writeable = False
    return stacked


def _owner(buffer: object) -> object:
    """Return the message that a buffer's bytes lie in; a memory view is another one for each array."""
    return buffer.obj if isinstance(buffer, memoryview) else buffer


def _address(data: npt.NDArray[np.uint8]) -> int:
    return int(data.__array_interface__["data"][0])


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
