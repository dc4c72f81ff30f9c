import os
from pathlib import Path

import numpy as np

from st4vla.training.actions.picture_cache import PictureCache, file_key


def test_pictures_are_decoded_once_and_the_oldest_forgotten() -> None:
    decoded = []

    def decode(name: str) -> np.ndarray:
        decoded.append(name)
        return np.zeros(40, np.uint8)

    cache = PictureCache(100)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert cache.get(name, lambda name=name: decode(name)).nbytes == 40
    # There is room for two: "c" took the place of "b", which was used before "a".
    assert decoded == ["a", "b", "c", "b"]


def test_what_is_larger_than_the_memory_is_kept_until_the_next() -> None:
    cache = PictureCache(1)
    first = cache.get("a", lambda: np.zeros(40, np.uint8))
    assert cache.get("a", lambda: np.ones(40, np.uint8)) is first


def test_a_file_that_was_written_anew_is_another(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert file_key(path) == (str(path), 0)
    path.write_bytes(b"one")
    before = file_key(path)
    os.utime(path, ns=(1, 1))
    assert file_key(path) != before
