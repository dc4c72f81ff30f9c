"""Pictures on disk: that they are there, and how large they are, from their headers alone."""

from __future__ import annotations

import functools
import hashlib
import io
from pathlib import Path, PurePosixPath

from PIL import Image

from st4vla.contracts.errors import DatasetError

#: Neighbouring records often share a picture; older sizes are read again.
REMEMBERED = 65_536


class Pictures:
    """The folder that a data set's picture names start from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._size = functools.lru_cache(maxsize=REMEMBERED)(picture_size)
        self._there = functools.lru_cache(maxsize=REMEMBERED)(Path.is_file)

    def require(self, name: str) -> str:
        """Return a picture's name with forward slashes, once it is known to be there.

        Raises:
            DatasetError: The name leads out of the folder, or there is no such picture.
        """
        relative = PurePosixPath(name.replace("\\", "/"))
        if relative.is_absolute() or ".." in relative.parts:
            msg = f"the picture {name!r} lies outside of {self.folder}"
            raise DatasetError(msg)
        if not self._there(self.folder / relative):
            msg = f"the picture {self.folder / relative} is missing; name the folder of the pictures with --images"
            raise DatasetError(msg)
        return str(relative)

    def size(self, name: str) -> tuple[int, int]:
        """Return the width and height of a picture in pixels.

        Raises:
            DatasetError: There is no such picture, or its header cannot be read.
        """
        return self._size(self.folder / self.require(name))

    def store(self, data: bytes) -> str:
        """Write a picture under a name made of its content, unless it is there already, and return the name.

        Args:
            data: An encoded picture, in any format that Pillow knows.

        Raises:
            DatasetError: These bytes are no picture.
        """
        digest = hashlib.sha256(data).hexdigest()[:32]
        name = f"{digest[:2]}/{digest}.{_format(data)}"
        path = self.folder / name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.part")
            temporary.write_bytes(data)
            temporary.replace(path)
        return name


def picture_size(path: Path) -> tuple[int, int]:
    """Return the width and height that a picture's header gives, without decoding it.

    An EXIF rotation is not applied: annotations, and the loaders that train on them, take the pixels as stored.

    Raises:
        DatasetError: The header cannot be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            return int(width), int(height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        msg = f"the picture {path} cannot be read: {error}"
        raise DatasetError(msg) from error


def _format(data: bytes) -> str:
    """Return the usual ending of a picture's format."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = (image.format or "").lower()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        msg = f"its {len(data)} bytes are no picture: {error}"
        raise DatasetError(msg) from error
    return "jpg" if kind == "jpeg" else kind
