"""Changes of a file system that a power cut cannot take back: each is on disk when its function returns."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Write a folder's names to disk: those that were added, changed or removed."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Write a file's bytes to disk, whoever wrote them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Write to disk what lies in a folder, and its own name."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync_file(Path(parent, name))
        sync_folder(Path(parent))
    sync_folder(folder.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there."""
    if path.exists():
        path.unlink(missing_ok=True)
        sync_folder(path.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)
        sync_folder(folder.parent)
