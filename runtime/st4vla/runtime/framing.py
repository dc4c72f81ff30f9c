"""From any picture to a view of the size that a bundle takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from st4vla.contracts.messages import ImageEncoding, View, WelcomeView
from st4vla.runtime.sources import Picture


def fit(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return the largest centred part of a picture with the wanted aspect ratio, resized.

    Cropping keeps what is round, round; a policy that was trained on squeezed pictures wants them squeezed before.

    Args:
        pixels: RGB uint8 [H, W, 3].
        height: Rows wanted.
        width: Columns wanted.

    Returns:
        uint8 [height, width, 3]; the same array when it has that size. Resizing is bilinear with antialiasing, as in
        the training of the published checkpoints.
    """
    have_height, have_width = pixels.shape[:2]
    if (have_height, have_width) == (height, width):
        return pixels
    scale = min(have_height / height, have_width / width)
    crop_height, crop_width = scale * height, scale * width
    top, left = (have_height - crop_height) / 2, (have_width - crop_width) / 2
    box = (left, top, left + crop_width, top + crop_height)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, box=box))


def make_view(picture: Picture, wanted: WelcomeView, jpeg_quality: int | None = None) -> View:
    """Return a picture as the view that a server wants, raw or as JPEG of a quality from 1 to 100."""
    pixels = fit(picture.pixels, wanted.height, wanted.width)
    if jpeg_quality is None:
        return View.from_pixels(wanted.name, pixels, picture.capture_ns)
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=jpeg_quality, colorspace="RGB")
    data = np.frombuffer(encoded, np.uint8)
    return View(wanted.name, picture.capture_ns, wanted.height, wanted.width, ImageEncoding.JPEG, data)
