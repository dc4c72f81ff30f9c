"""The size that Qwen2.5-VL sees a picture in: whole patches, and neither too few pixels nor too many."""

from __future__ import annotations

import math

from st4vla.contracts.errors import DatasetError

FACTOR = 28
MIN_PIXELS = 56 * 56
MAX_PIXELS = 28 * 28 * 1280
MAX_ASPECT_RATIO = 200


def smart_resize(
    height: int, width: int, *, factor: int = FACTOR, min_pixels: int = MIN_PIXELS, max_pixels: int = MAX_PIXELS
) -> tuple[int, int]:
    """Return the height and width that a picture is resized to.

    Both sides become multiples of `factor`: the nearest ones where that keeps the area within its bounds, else the
    picture is first scaled, with its aspect ratio, to the bound that it breaks and then rounded towards the inside.
    The rule is that of transformers' `models/qwen2_vl/image_processing_qwen2_vl.py`, number for number.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        factor: Side of a merged patch in pixels: 14 of the patch times 2 of the merger.
        min_pixels: Least area.
        max_pixels: Largest area.

    Raises:
        DatasetError: A side is not positive, or one is more than 200 times the other.
    """
    if min(height, width) <= 0 or max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        msg = (
            f"a picture of {width} x {height} pixels cannot be shown; sides must be positive and at most "
            f"{MAX_ASPECT_RATIO}:1; leave the picture out, or crop it"
        )
        raise DatasetError(msg)
    sides = height, width
    nearest = [round(side / factor) * factor for side in sides]
    area = nearest[0] * nearest[1]
    if area > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        # A long and thin picture keeps at least one patch across.
        rows, columns = (max(factor, math.floor(side / shrink / factor) * factor) for side in sides)
    elif area < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows, columns = (math.ceil(side * grow / factor) * factor for side in sides)
    else:
        rows, columns = nearest
    return rows, columns
