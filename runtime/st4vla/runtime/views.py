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
        ObservationError: Views of other names, number or size than the bundle's.
    """
    given = {view.name: view for view in observation.views}
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
    """Return checked views as uint8 [V, H, W, 3] in the bundle's order, decoded and copied out of the message.

    Raises:
        ObservationError: A broken JPEG.
    """
    given = {view.name: view for view in observation.views}
    stacked = np.empty((len(specs), specs[0].height, specs[0].width, 3), np.uint8)
    for row, spec in zip(stacked, specs, strict=True):
        row[...] = _pixels(given[spec.name], spec)
    return stacked


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
