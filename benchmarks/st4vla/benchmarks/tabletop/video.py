"""Pictures as a video."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt


def write_video(path: Path, pictures: Iterable[npt.NDArray[np.uint8]], rate_hz: int) -> None:
    """Write an H.264 video.

    Args:
        path: Where to; the ending decides the container.
        pictures: RGB uint8 [H, W, 3], all of one even size.
        rate_hz: Pictures per second.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate_hz), options={"crf": "18", "preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        for index, picture in enumerate(pictures):
            if index == 0:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
