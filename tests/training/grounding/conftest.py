"""Pictures and a shorthand for every converter's tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from st4vla.training.grounding.converters import get_converter
from st4vla.training.grounding.records import Options, Unreadable
from st4vla.training.grounding.samples import GroundingSample

Parts = tuple[list[GroundingSample], list[Unreadable]]


@pytest.fixture
def picture() -> Callable[[Path, tuple[int, int]], Path]:
    """Write a grey picture of a size, with the folders above it."""

    def write(path: Path, size: tuple[int, int]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (127, 127, 127)).save(path)
        return path

    return write


@pytest.fixture
def run() -> Callable[..., Parts]:
    """Run a converter and part what it made from what it could not read."""

    def convert(name: str, source: Path, **options: object) -> Parts:
        items = list(get_converter(name)(source, Options(**options)))  # type: ignore[arg-type]
        made = [item for item in items if isinstance(item, GroundingSample)]
        return made, [item for item in items if isinstance(item, Unreadable)]

    return convert
