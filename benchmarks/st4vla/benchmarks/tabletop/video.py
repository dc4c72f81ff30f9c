"""Both cameras' pictures as one video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt


def write_video(path: Path, frames: Sequence[Mapping[str, npt.NDArray[np.uint8]]], rate_hz: int) -> None:
    """Write an H.264 video with the cameras side by side, sorted by name.

    Args:
        path: Where to; the ending decides the container.
        frames: For each instant the pictures by camera, uint8 [H, W, 3], of one height and even sizes.
        rate_hz: Instants per second.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate_hz), options={"crf": "18", "preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        for index, pictures in enumerate(frames):
            wide = np.concatenate([pictures[name] for name in sorted(pictures)], axis=1)
            if index == 0:
                stream.height, stream.width = wide.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(wide, "rgb24")))
        container.mux(stream.encode())
