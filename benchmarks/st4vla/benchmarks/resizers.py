"""Ways to bring a picture to a policy's size, to be compared."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from st4vla.runtime.resizing import resize

Pixels = npt.NDArray[np.uint8]
Resizer = Callable[[Pixels, int, int], Pixels]

#: What policies are trained on, and what all others are compared with.
REFERENCE = "Pillow bicubic"
OURS = "ours"


def resizers() -> dict[str, Resizer]:
    """Return by name what takes RGB uint8 [H, W, 3], a height and a width; OpenCV's only where it is installed."""
    found: dict[str, Resizer] = {
        REFERENCE: partial(_pillow, Image.Resampling.BICUBIC),
        OURS: resize,
        "Pillow bilinear": partial(_pillow, Image.Resampling.BILINEAR),
    }
    if importlib.util.find_spec("cv2"):
        cv2 = importlib.import_module("cv2")
        # One core, as the others: on a device the other ones run the engines.
        cv2.setNumThreads(1)
        found["OpenCV area"] = partial(_opencv, cv2.resize, cv2.INTER_AREA)
        found["OpenCV cubic"] = partial(_opencv, cv2.resize, cv2.INTER_CUBIC)
    return found


def _pillow(resampling: Image.Resampling, pixels: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height), resampling))


def _opencv(function: Callable[..., Any], interpolation: int, pixels: Pixels, height: int, width: int) -> Pixels:
    resized: Pixels = function(pixels, (width, height), interpolation=interpolation)
    return resized
