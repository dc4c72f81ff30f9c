"""From any picture to a view of the size that a bundle takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg

from st4vla.contracts.messages import ImageEncoding, View, WelcomeView
from st4vla.runtime.resizing import resize
from st4vla.runtime.sources import Picture


def fit(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return a picture in a policy's size, as training made its views: the whole picture, squeezed.

    Nothing is cropped, so what was at the rim in training is seen, and what was squeezed in training is squeezed alike:
    let the camera have the aspect ratio of those that the data set was recorded with. `Demonstrations` and the training
    of the published checkpoints both resize with Pillow's antialiased bicubic filter.

    Args:
        pixels: RGB uint8 [H, W, 3].
        height: Rows wanted.
        width: Columns wanted.

    Returns:
        uint8 [height, width, 3]; the same array when it has that size.

    Raises:
        ObservationError: Not such a picture, or a side that is not allowed.
    """
    return resize(pixels, height, width)


def make_view(picture: Picture, wanted: WelcomeView, jpeg_quality: int | None = None) -> View:
    """Return a picture as the view that a server wants, raw or as JPEG of a quality from 1 to 100.

    Raises:
        ObservationError: See `fit`.
    """
    pixels = fit(picture.pixels, wanted.height, wanted.width)
    if jpeg_quality is None:
        return View.from_pixels(wanted.name, pixels, picture.capture_ns)
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=jpeg_quality, colorspace="RGB")
    data = np.frombuffer(encoded, np.uint8)
    return View(wanted.name, picture.capture_ns, wanted.height, wanted.width, ImageEncoding.JPEG, data)
