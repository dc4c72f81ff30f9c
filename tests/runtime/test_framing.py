import numpy as np

from st4vla.contracts.messages import ImageEncoding, WelcomeView
from st4vla.runtime.framing import fit, make_view
from st4vla.runtime.sources import Picture


def test_the_whole_picture_is_squeezed_into_the_view() -> None:
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, :50] = 255
    fitted = fit(wide, 20, 20)
    assert fitted.shape == (20, 20, 3)
    assert (fitted[:, :9] == 255).all()
    assert (fitted[:, 11:] == 0).all()


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    pixels = np.arange(12 * 3, dtype=np.uint8).reshape(3, 4, 3)
    assert fit(pixels, 3, 4) is pixels


def test_a_view_is_sent_raw_or_as_jpeg_with_its_capture_time() -> None:
    picture = Picture(np.full((48, 64, 3), 120, np.uint8), capture_ns=7)
    wanted = WelcomeView("wrist", 28, 28)
    raw, jpeg = make_view(picture, wanted), make_view(picture, wanted, jpeg_quality=80)
    assert (raw.encoding, raw.data.size) == (ImageEncoding.RGB8, 28 * 28 * 3)
    assert jpeg.encoding is ImageEncoding.JPEG
    assert bytes(jpeg.data[:2]) == b"\xff\xd8"
    assert (raw.name, raw.capture_ns, jpeg.capture_ns) == ("wrist", 7, 7)
