import time
from collections import deque
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import SourceError
from st4vla.runtime.sources import Camera, ImageFolder, VideoFile, open_source

PERIOD_NS = 50_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("b.png", "a.jpg", "c.PNG")):
        Image.new("RGB", (8, 6), (80 * index, 0, 0)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten frames of 10 Hz, each brighter than the one before."""
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width = stream.height = 32
        for index in range(10):
            pixels = np.full((32, 32, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return path


def brightness(source: ImageFolder | VideoFile, count: int) -> list[int | None]:
    pictures = [source.read() for _ in range(count)]
    return [None if picture is None else round(float(picture.pixels.mean()) / 20) for picture in pictures]


def test_images_come_by_name_with_the_time_at_which_they_were_read(folder: Path) -> None:
    source = ImageFolder(folder)
    before = monotonic_ns()
    pictures = [source.read() for _ in range(4)]
    assert [None if p is None else int(p.pixels[0, 0, 0]) // 80 for p in pictures] == [1, 0, 2, None]
    assert pictures[0] is not None
    assert pictures[0].pixels.shape == (6, 8, 3)
    assert before <= pictures[0].capture_ns <= monotonic_ns()


def test_images_begin_again_when_they_are_looped(folder: Path) -> None:
    source = ImageFolder(folder, loop=True)
    assert all(source.read() is not None for _ in range(7))


def test_an_image_is_turned_as_its_camera_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "turned.jpg", exif=exif)
    picture = open_source(str(tmp_path / "turned.jpg"), PERIOD_NS).read()
    assert picture is not None
    assert picture.pixels.shape == (8, 6, 3)


@pytest.mark.parametrize(
    ("period_ns", "expected"),
    [
        (100_000_000, [*range(10), None]),
        (200_000_000, [0, 2, 4, 6, 8, 9, None]),
        (50_000_000, [frame for frame in range(9) for _ in range(2)] + [9, None]),
    ],
)
def test_a_video_is_read_at_its_own_pace_whatever_the_rate(
    video: Path, period_ns: int, expected: list[int | None]
) -> None:
    source = VideoFile(video, period_ns)
    assert brightness(source, len(expected)) == expected
    source.close()


def test_a_video_begins_again_when_it_is_looped(video: Path) -> None:
    source = VideoFile(video, 100_000_000, loop=True)
    assert brightness(source, 12) == [*range(10), 0, 1]
    source.close()


def test_a_camera_gives_its_newest_frame_and_never_the_same_twice() -> None:
    """FFmpeg's test pattern, an input device like V4L2's, stands in for a camera; only the name differs."""
    camera = Camera("testsrc2=size=64x48:rate=50,realtime", driver="lavfi")
    first = camera.read()
    time.sleep(0.2)
    second, third = camera.read(), camera.read()
    camera.close()
    assert first is not None
    assert second is not None
    assert third is not None
    assert second.pixels.shape == (48, 64, 3)
    assert second.capture_ns - first.capture_ns > 100_000_000
    assert 0 < third.capture_ns - second.capture_ns < 100_000_000
    assert not np.array_equal(first.pixels, second.pixels)


def test_a_camera_that_stops_is_named() -> None:
    camera = Camera("testsrc2=size=64x48:rate=50:duration=0.1,realtime", driver="lavfi")
    with pytest.raises(SourceError, match="has stopped sending; is it still plugged in"):
        deque(iter(camera.read, None), maxlen=0)
    camera.close()


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("nothing", None, "No such file or directory; name a folder of images, a video file or a camera"),
        ("video.mp4", b"not a video", "cannot be opened as video: Invalid data"),
        ("empty.mp4", b"", "cannot be opened as video"),
    ],
)
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str, content: bytes | None, match: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=match):
        open_source(str(tmp_path / name), PERIOD_NS)


def test_a_folder_without_images_and_a_broken_image_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no images; their names end in \.bmp"):
        open_source(str(tmp_path), PERIOD_NS)
    (tmp_path / "broken.png").write_bytes(b"not an image")
    with pytest.raises(SourceError, match=r"broken\.png cannot be read as an image"):
        open_source(str(tmp_path), PERIOD_NS).read()


def test_a_device_that_is_no_camera_is_named() -> None:
    with pytest.raises(SourceError, match="/dev/null cannot be opened as video"):
        open_source("/dev/null", PERIOD_NS)
