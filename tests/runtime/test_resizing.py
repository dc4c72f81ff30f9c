import gc
import re
import runpy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from st4vla.contracts.errors import ObservationError
from st4vla.runtime import resizing
from st4vla.runtime.resizing import CompiledResize, Pixels, compiled_resize, resize, resize_with_pillow

ROOT = Path(__file__).resolve().parents[2]
# Test modules are not importable by name under importlib mode.
GOLDEN = runpy.run_path(str(Path(__file__).with_name("golden_resize.py")))
SIDES = st.one_of(st.integers(1, 20), st.integers(1, 90))
#: Ways to lay the same picture out in memory.
LAYOUTS: dict[str, Callable[[Pixels], Pixels]] = {
    "contiguous": lambda pixels: pixels,
    "bottom up": lambda pixels: np.ascontiguousarray(pixels[::-1])[::-1],
    "right to left": lambda pixels: np.ascontiguousarray(pixels[:, ::-1])[:, ::-1],
    "blue first": lambda pixels: np.ascontiguousarray(pixels[..., ::-1])[..., ::-1],
    "columns first": np.asfortranarray,
    "part of a wider picture": lambda pixels: np.pad(pixels, ((1, 2), (3, 1), (0, 0)))[1:-2, 3:-1],
    "read only": lambda pixels: np.frombuffer(pixels.tobytes(), np.uint8).reshape(pixels.shape),
}


@pytest.fixture(scope="module")
def compiled() -> CompiledResize:
    found = compiled_resize()
    if found is None:
        pytest.skip("the firmware bridge is not built: make ctest")
    return found


@pytest.fixture
def looked_for_again() -> Iterator[None]:
    compiled_resize.cache_clear()
    yield
    compiled_resize.cache_clear()


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=300, deadline=None)
@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.booleans(), st.sampled_from(sorted(LAYOUTS)))
def test_the_library_makes_of_any_picture_what_pillow_makes(
    compiled: CompiledResize, size: tuple[int, int], wanted: tuple[int, int], stark: bool, layout: str
) -> None:
    pixels = noise(*size, seed=sum(wanted))
    if stark:  # Black beside white leaves the range of a byte between the passes.
        pixels = (pixels // 128 * 255).astype(np.uint8)
    laid_out = LAYOUTS[layout](pixels)
    np.testing.assert_array_equal(laid_out, pixels)
    np.testing.assert_array_equal(compiled(laid_out, *wanted), resize_with_pillow(pixels, *wanted))


@pytest.mark.parametrize("size", [(240, 424), (480, 640), (640, 480), (720, 1280), (1280, 720), (1080, 1920)])
def test_the_library_makes_of_cameras_pictures_what_pillow_makes(
    compiled: CompiledResize, size: tuple[int, int]
) -> None:
    pixels = noise(*size)
    np.testing.assert_array_equal(compiled(pixels, 224, 224), resize_with_pillow(pixels, 224, 224))


@pytest.mark.parametrize("size", [(240, 424), (480, 640), (720, 1280), (300, 300), (100, 120)])
def test_pictures_that_are_not_tall_are_those_of_a_single_call_of_pillow(size: tuple[int, int]) -> None:
    pixels = noise(*size)
    once = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resize(pixels, 224, 224), once)


def test_threads_resize_different_sizes_at_once(compiled: CompiledResize) -> None:
    pictures = [noise(60 + 7 * seed, 80 + 5 * seed, seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pixels: compiled(pixels, 28, 28), pictures * 5))
    for got, pixels in zip(found, pictures * 5, strict=True):
        np.testing.assert_array_equal(got, resize_with_pillow(pixels, 28, 28))


def test_a_picture_of_the_right_size_is_not_copied() -> None:
    pixels = noise(5, 7)
    assert resize(pixels, 5, 7) is pixels


def test_without_the_library_pillow_does_the_work(looked_for_again: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "LIBRARIES", ("/nowhere/libst4vla_resize.so",))
    assert compiled_resize() is None
    pixels = noise(50, 60)
    np.testing.assert_array_equal(resize(pixels, 28, 28), resize_with_pillow(pixels, 28, 28))


def test_a_library_of_another_version_is_left_alone(
    compiled: CompiledResize, looked_for_again: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resizing, "ABI_VERSION", resizing.ABI_VERSION + 1)
    assert compiled_resize() is None


@pytest.mark.parametrize(
    ("pixels", "size", "said"),
    [
        (np.zeros((4, 4), np.uint8), (2, 2), r"must be RGB, uint8 \[H, W, 3\]; this one is uint8 \[4, 4\]: convert it"),
        (np.zeros((4, 4, 4), np.uint8), (2, 2), r"this one is uint8 \[4, 4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), (2, 2), r"this one is float32 \[4, 4, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), (2, 2), "0 x 4 pixels cannot become 2 x 2; sides are 1 to 16384"),
        (np.zeros((4, 4, 3), np.uint8), (0, 2), "4 x 4 pixels cannot become 0 x 2"),
        (np.zeros((4, 4, 3), np.uint8), (2, 16385), "cannot become 2 x 16385"),
    ],
)
def test_what_is_no_picture_is_refused(pixels: Any, size: tuple[int, int], said: str) -> None:
    with pytest.raises(ObservationError, match=said):
        resize(pixels, *size)


class FakeLibrary:
    """Counts what is made and freed; `status` is its answer to everything."""

    def __init__(self, status: int = 0) -> None:
        self.alive = 0

        def create(*arguments: Any) -> int:
            self.alive += 1
            return status

        def destroy(pointer: Any) -> None:
            self.alive -= 1

        self.st4vla_resizer_create = create
        self.st4vla_resizer_destroy = destroy
        self.st4vla_resizer_run = lambda *arguments: status
        self.st4vla_resize_message = lambda status: b"there is no memory left"


def test_a_thread_keeps_few_sizes_and_frees_the_others() -> None:
    library = FakeLibrary()
    fake = CompiledResize(library)
    for side in range(2, 40):
        fake(noise(4, 4), side, side)
    gc.collect()
    assert library.alive == resizing.KEPT_SIZES
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fake, noise(4, 4), 2, 2).result()
    gc.collect()
    assert library.alive == resizing.KEPT_SIZES


def test_what_the_library_refuses_is_said() -> None:
    with pytest.raises(ObservationError, match="cannot be resized: there is no memory left"):
        CompiledResize(FakeLibrary(status=3))(noise(4, 4), 2, 2)


def test_the_c_tests_checksums_are_pillows() -> None:
    assert GOLDEN["GOLDEN"].read_text(encoding="ascii") == GOLDEN["lines"]()


@pytest.mark.parametrize("name", ["ABI_VERSION", "MAX_SIDE"])
def test_the_header_has_the_same_numbers(name: str) -> None:
    header = (ROOT / "firmware_bridge" / "include" / "st4vla" / "resize.h").read_text(encoding="utf-8")
    found = re.search(rf"#define ST4VLA_RESIZE_{name} (\d+)u?\n", header)
    assert found is not None
    assert int(found[1]) == getattr(resizing, name)
