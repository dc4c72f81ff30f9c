"""Single pictures out of video files."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from st4vla.contracts.errors import DatasetError, MissingExtraError
from st4vla.training.actions.lerobot import VideoSpan

OPEN_FILES = 16


class VideoFrames:
    """Read frames by their time, keeping some files open; used as a context manager.

    Frames that follow each other are decoded without seeking. Not for several threads at once.

    Args:
        rate_hz: Frames per second of the videos; a frame is found when it is nearer than half a period.
        open_files: How many files stay open.

    Raises:
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, rate_hz: float, open_files: int = OPEN_FILES) -> None:
        try:
            import av  # noqa: PLC0415 - an extra
        except ImportError as error:
            msg = "video data sets need PyAV; install it with: pip install 'st4vla[video]'"
            raise MissingExtraError(msg) from error
        self._av = av
        self._half_period_s = 0.5 / rate_hz
        self._period_s = 1.0 / rate_hz
        self._open_files = open_files
        self._opened: OrderedDict[Path, _OpenVideo] = OrderedDict()

    def read(self, span: VideoSpan, frame: int) -> npt.NDArray[np.uint8]:
        """Return a frame of a span, counted from 0, as RGB uint8 [H, W, 3].

        Raises:
            DatasetError: The file cannot be decoded, or has no frame at that time.
        """
        wanted_s = span.from_s + frame * self._period_s
        try:
            picture = self._open(span.path).seek_to(wanted_s, self._half_period_s)
        except (self._av.FFmpegError, OSError) as error:
            self._forget(span.path)
            msg = f"{span.path} cannot be decoded at {wanted_s:.3f} s: {getattr(error, 'strerror', None) or error}"
            raise DatasetError(msg) from error
        if picture is None:
            msg = f"{span.path} has no frame at {wanted_s:.3f} s; the index promises one: the data set is not whole"
            raise DatasetError(msg)
        pixels: npt.NDArray[np.uint8] = picture.to_ndarray(format="rgb24")
        return pixels

    def close(self) -> None:
        """Close all files."""
        for path in list(self._opened):
            self._forget(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, path: Path) -> _OpenVideo:
        if path in self._opened:
            self._opened.move_to_end(path)
        else:
            self._opened[path] = _OpenVideo(self._av.open(str(path)))
            if len(self._opened) > self._open_files:
                self._forget(next(iter(self._opened)))
        return self._opened[path]

    def _forget(self, path: Path) -> None:
        if video := self._opened.pop(path, None):
            video.container.close()


class _OpenVideo:
    """A container, and where it stands."""

    def __init__(self, container: Any) -> None:
        self.container = container
        self._stream = container.streams.video[0]
        self._stream.thread_type = "NONE"
        self._frames = container.decode(self._stream)
        self._last: Any = None

    def seek_to(self, wanted_s: float, tolerance_s: float) -> Any:
        """Return the frame within the tolerance of a time, or None past the end."""
        if self._last is not None and abs(self._last.time - wanted_s) < tolerance_s:
            return self._last
        # A few frames on are reached sooner by decoding than by a seek to a keyframe before them.
        if self._last is None or not 0 < wanted_s - self._last.time < 8 * 2 * tolerance_s:
            self.container.seek(max(0, int((wanted_s - tolerance_s) / self._stream.time_base)), stream=self._stream)
            self._frames = self.container.decode(self._stream)
        for frame in self._frames:
            self._last = frame
            if frame.time > wanted_s - tolerance_s:
                return frame if abs(frame.time - wanted_s) < tolerance_s else None
        self._last = None
        return None
