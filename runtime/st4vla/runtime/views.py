"""From an observation's views to the array that the graphs take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import simplejpeg

from st4vla.contracts.errors import ObservationError
from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import ImageEncoding, Observation, View
from st4vla.runtime.policy import Views


def stack_views(observation: Observation, specs: Sequence[ViewSpec]) -> Views:
    """Return uint8 [V, H, W, 3] in the bundle's order, decoded and copied out of the message.

    Raises:
        ObservationError: Views of other names, number or size than the bundle's, or a broken JPEG.
    """
    given = {view.name: view for view in observation.views}
    expected = [spec.name for spec in specs]
    if len(given) != len(observation.views) or sorted(given) != sorted(expected):
        names = [view.name for view in observation.views]
        msg = f"observation with the views {names}; this bundle takes {len(expected)}: {expected}"
        raise ObservationError(msg)
    stacked = np.empty((len(specs), specs[0].height, specs[0].width, 3), np.uint8)
    for row, spec in zip(stacked, specs, strict=True):
        row[...] = _pixels(given[spec.name], spec)
    return stacked


def _pixels(view: View, spec: ViewSpec) -> Views:
    if (view.height, view.width) != (spec.height, spec.width):
        msg = (
            f"view {view.name!r} is {view.height} x {view.width} pixels; this bundle takes "
            f"{spec.height} x {spec.width}: resize it before sending"
        )
        raise ObservationError(msg)
    if view.encoding is ImageEncoding.RGB8:
        return view.pixels
    try:
        pixels: Views = simplejpeg.decode_jpeg(view.data.tobytes(), "RGB")
    except ValueError as error:
        msg = f"view {view.name!r} is not a JPEG that can be decoded: {error}"
        raise ObservationError(msg) from error
    if pixels.shape[:2] != (spec.height, spec.width):
        msg = f"view {view.name!r} announces {spec.height} x {spec.width} pixels; its JPEG holds {pixels.shape[:2]}"
        raise ObservationError(msg)
    return pixels
