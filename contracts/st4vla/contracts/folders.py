"""Folders that are made aside and take their place when they are whole."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from st4vla.contracts.errors import UsageError


@contextlib.contextmanager
def replaced_folder(target: Path, manifest: str, what: str) -> Iterator[Path]:
    """Yield an empty folder beside `target` that takes its place when the block ends without an error.

    Renaming, not copying, puts it there: a reader finds the old folder, for an instant none, then the new one; never a
    half of either. After an error, `target` is as it was.

    Args:
        target: The folder to make. One that holds `manifest`, or nothing, is replaced.
        manifest: Name of the file that marks a folder of this kind.
        what: What such a folder holds, for the message.

    Raises:
        UsageError: `target` is a file, or a folder that holds something else.
    """
    require_replaceable(target, manifest, what)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    work, old = staging / "new", staging / "old"
    work.mkdir()
    try:
        yield work
        if target.exists():
            target.rename(old)
        work.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def require_replaceable(target: Path, manifest: str, what: str) -> None:
    """Refuse a folder that `replaced_folder` would not replace.

    Raises:
        UsageError: See there.
    """
    if target.exists() and not target.is_dir():
        msg = f"{target} is a file; name a folder for the {what}"
        raise UsageError(msg)
    if target.exists() and any(target.iterdir()) and not (target / manifest).is_file():
        msg = f"{target} holds something other than {what}; name an empty or a new folder"
        raise UsageError(msg)
