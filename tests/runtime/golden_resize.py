"""Write `tests/data/resize.txt`: what Pillow makes of pictures that `firmware_bridge/tests/test_resize.c` makes too.

Run it when sizes are added: ``python tests/runtime/golden_resize.py``.
"""

from pathlib import Path

import crc32c
import numpy as np
import numpy.typing as npt
from PIL import Image

GOLDEN = Path(__file__).parents[1] / "data" / "resize.txt"
#: Rows and columns before and after: cameras, one axis alone, enlarging, odd sides, sides of 1, less than 16 columns.
SIZES = (
    (480, 640, 224, 224),
    (1080, 1920, 224, 224),
    (1280, 720, 224, 224),
    (480, 640, 28, 28),
    (224, 640, 224, 224),
    (480, 224, 224, 224),
    (224, 224, 224, 224),
    (28, 28, 224, 224),
    (30, 40, 33, 35),
    (17, 16, 16, 17),
    (19, 300, 50, 4),
    (300, 19, 4, 50),
    (1, 300, 1, 16),
    (300, 1, 7, 1),
    (5, 7, 1, 1),
    (1, 1, 5, 7),
    (1, 1, 1, 1),
)


def picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return pixels [height, width, 3]: the top byte of each place times Knuth's multiplier, modulo 2**32."""
    places = np.arange(height * width * 3, dtype=np.uint64) * np.uint64(2654435761)
    return ((places & np.uint64(0xFFFFFFFF)) >> np.uint64(24)).astype(np.uint8).reshape(height, width, 3)


def rows_then_columns(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize with Pillow alone, one axis at a time."""
    rows = Image.fromarray(pixels).resize((width, pixels.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(rows.resize((width, height), Image.Resampling.BICUBIC))


def lines() -> str:
    """Return the file: a line with four numbers and a CRC-32C for each size."""
    return "".join(
        f"{' '.join(map(str, size))} {crc32c.crc32c(rows_then_columns(picture(*size[:2]), *size[2:]).tobytes()):08x}\n"
        for size in SIZES
    )


if __name__ == "__main__":
    GOLDEN.write_text(lines(), encoding="ascii")
