"""Unpickle data, and nothing that could run: published annotations are pickles from strangers."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

from st4vla.contracts.errors import DatasetError

#: The containers that pickles name; dict, list, tuple, text and numbers need no name.
ADMITTED = frozenset({"set", "frozenset"})


class _Unpickler(pickle.Unpickler):
    """Finds the builtin containers, under their names in Python 3 and 2, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a builtin container."""
        if module in {"builtins", "__builtin__"} and name in ADMITTED:
            return super().find_class("builtins", name)
        msg = f"it asks for {module}.{name}, which is neither a builtin container nor a scalar"
        raise pickle.UnpicklingError(msg)


def load_plain(data: bytes, path: Path) -> Any:
    """Unpickle containers and scalars, also those that Python 2 wrote.

    Args:
        data: The pickle.
        path: Where it came from, for the message.

    Returns:
        What it holds; byte strings of Python 2 are read as Latin-1, which cannot fail.

    Raises:
        DatasetError: It names a class or function, or it is no whole pickle.
    """
    try:
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()
    # A damaged pickle may raise anything at all: the opcodes call whatever stands on the stack.
    except Exception as error:
        msg = f"{path} is refused as a pickle: {error or type(error).__name__}; download it again from its publisher"
        raise DatasetError(msg) from error
