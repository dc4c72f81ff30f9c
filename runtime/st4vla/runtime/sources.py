"""Pictures from a folder, a video file or a V4L2 camera, one call at a time."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from st4vla.contracts.clock import NS_PER_S, monotonic_ns
from st4vla.contracts.errors import MissingExtraError, SourceError
from st4vla.runtime.latest import LatestSlot

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")
CAMERA_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Picture:
    """RGB pixels uint8 [H, W, 3] and when they were taken; a recorded one counts as taken when it is read."""

    pixels: npt.NDArray[np.uint8]
    capture_ns: int


class Source(Protocol):
    """Something that gives pictures."""

    def read(self) -> Picture | None:
        """Return the next picture, or None after the last one.

        Raises:
            SourceError: It cannot be read.
        """
        ...

    def close(self) -> None:
        """Let go of files and devices."""
        ...


class ImageFolder:
    """The images of a folder by name, turned as their EXIF data says.

    Args:
        path: The folder, or one image.
        loop: Begin again after the last one.

    Raises:
        SourceError: There is no image.
    """

    def __init__(self, path: Path, *, loop: bool = False) -> None:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        self._files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        self._loop = loop
        self._next = 0
        if not self._files:
            msg = f"{path} holds no images; their names end in {', '.join(IMAGE_SUFFIXES)}"
            raise SourceError(msg)

    def read(self) -> Picture | None:
        """Return the next image, or None after the last one."""
        if self._next == len(self._files):
            if not self._loop:
                return None
            self._next = 0
        path = self._files[self._next]
        self._next += 1
        try:
            with Image.open(path) as image:
                pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, ValueError) as error:
            msg = f"{path} cannot be read as an image: {error}"
            raise SourceError(msg) from error
        return Picture(pixels, monotonic_ns())

    def close(self) -> None:
        """Do nothing: no file stays open."""


class VideoFile:
    """A video as a camera would have given it: each `read` moves on by one period of the video's own time.

    Args:
        path: The file.
        period_ns: Time between two reads.
        loop: Begin again after the last frame.

    Raises:
        SourceError: The file cannot be opened, or holds no video.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: Path, period_ns: int, *, loop: bool = False) -> None:
        self._path, self._period_ns, self._loop = path, period_ns, loop
        self._frame: Any = None
        self._start()
        if self._frame is None:
            self.close()
            msg = f"{path} holds no frame that can be decoded"
            raise SourceError(msg)

    def read(self) -> Picture | None:
        """Return the frame that is shown one period after the last one returned, or None after the end."""
        if self._frame is None and self._loop:
            self.close()
            self._start()
        if self._frame is None:
            return None
        pixels = self._frame.to_ndarray(format="rgb24")
        self._frame = next(self._sampled, None)
        return Picture(pixels, monotonic_ns())

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _start(self) -> None:
        self._container = open_video(str(self._path), None)
        self._sampled = self._sample()
        self._frame = next(self._sampled, None)

    def _sample(self) -> Iterator[Any]:
        """Yield what is shown at each multiple of the period, counted from the first frame."""
        shown: Any = None
        due_ns = began_ns = 0
        for frame in decoded(self._container, str(self._path)):
            time_ns = round(float(frame.time or 0.0) * NS_PER_S)
            if shown is None:
                began_ns = time_ns
            while shown is not None and due_ns < time_ns - began_ns:
                yield shown
                due_ns += self._period_ns
            shown = frame
        if shown is not None:
            yield shown


class Camera:
    """A live camera, whose newest frame is read and whose older ones are let go.

    Args:
        device: For example ``/dev/video0``.
        driver: The input device of FFmpeg that opens it.

    Raises:
        SourceError: The device cannot be opened.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, device: str, driver: str = "v4l2") -> None:
        self._device = device
        self._container = open_video(device, driver)
        self._newest: LatestSlot[Picture] = LatestSlot()
        self._failure: SourceError | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._grab, name="st4vla_camera", daemon=True)
        self._thread.start()

    def read(self) -> Picture | None:
        """Return the newest frame that has not been returned yet, waiting for it up to `CAMERA_TIMEOUT_S`."""
        picture = self._newest.take(CAMERA_TIMEOUT_S)
        if picture is None and not self._closing.is_set():
            raise self._failure or SourceError(
                f"camera {self._device} has sent no frame for {CAMERA_TIMEOUT_S:g} s; is another program using it?"
            )
        return picture

    def close(self) -> None:
        """Stop grabbing and free the device; a driver that does not let go of its thread keeps it until the end."""
        self._closing.set()
        self._newest.close()
        self._thread.join(CLOSE_TIMEOUT_S)
        if not self._thread.is_alive():
            self._container.close()

    def _grab(self) -> None:
        try:
            for frame in decoded(self._container, self._device):
                if self._closing.is_set():
                    return
                capture_ns = monotonic_ns()
                self._newest.put(Picture(frame.to_ndarray(format="rgb24"), capture_ns))
            self._failure = SourceError(f"camera {self._device} has stopped sending; is it still plugged in?")
        except SourceError as error:
            self._failure = error
        finally:
            self._newest.close()


def open_source(where: str, period_ns: int, *, loop: bool = False) -> Source:
    """Open a folder of images, one image, a video file or a V4L2 camera.

    Args:
        where: Its path.
        period_ns: Time between two reads of a video.
        loop: Begin recorded pictures again after the last one.

    Raises:
        SourceError: There is no such thing, or it cannot be opened.
        MissingExtraError: It needs PyAV, which is not installed.
    """
    path = Path(where)
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except OSError as error:
        msg = f"source {where!r}: {error.strerror}; name a folder of images, a video file or a camera like /dev/video0"
        raise SourceError(msg) from error
    if stat.S_ISCHR(mode):
        return Camera(where)
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFolder(path, loop=loop)
    return VideoFile(path, period_ns, loop=loop)


def open_video(where: str, driver: str | None) -> Any:
    """Return an open PyAV container that holds video.

    Raises:
        SourceError: It cannot be opened, or holds no video.
        MissingExtraError: PyAV is not installed.
    """
    try:
        import av  # noqa: PLC0415 - an extra
    except ImportError as error:
        msg = "video files and cameras need PyAV; install it with: pip install 'st4vla[video]'"
        raise MissingExtraError(msg) from error
    try:
        container = av.open(where, format=driver)
    except (av.FFmpegError, OSError, ValueError) as error:
        msg = f"{where} cannot be opened as video: {getattr(error, 'strerror', None) or error}"
        raise SourceError(msg) from error
    if not container.streams.video:
        container.close()
        msg = f"{where} holds no video"
        raise SourceError(msg)
    return container


def decoded(container: Any, where: str) -> Iterator[Any]:
    """Yield the frames of a container.

    Raises:
        SourceError: A frame cannot be decoded.
    """
    import av  # noqa: PLC0415 - an extra

    try:
        with suppress(EOFError):
            yield from container.decode(video=0)
    except (av.FFmpegError, OSError, ValueError) as error:
        msg = f"{where} cannot be read any further: {getattr(error, 'strerror', None) or error}"
        raise SourceError(msg) from error
