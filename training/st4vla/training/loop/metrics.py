"""Metrics of a run as JSON lines, one a step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import msgspec
from typing_extensions import Self

from st4vla.contracts.errors import StorageError
from st4vla.contracts.files import write_atomically


class MetricsLog:
    """Append to `metrics.jsonl`; used as a context manager.

    A run that goes on from step n forgets what an earlier try said of step n and later, so that each step stands once.

    Args:
        path: The file.
        first_step: The first step that will be logged.

    Raises:
        StorageError: The file cannot be written.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                write_atomically(path, b"".join(line + b"\n" for line in _lines_before(path, first_step)))
            self._stream = path.open("ab")
        except OSError as error:
            raise self._failure(error) from error

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the line of a step; it is on its way to the disk when this returns.

        Raises:
            StorageError: The line cannot be written.
        """
        try:
            self._stream.write(msgspec.json.encode({"step": step, **values}) + b"\n")
            self._stream.flush()
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def _failure(self, error: OSError) -> StorageError:
        return StorageError(f"{self._path} cannot be written: {error.strerror}; free some disk and run again to go on")


def _lines_before(path: Path, first_step: int) -> list[bytes]:
    """Return the whole lines of steps before `first_step`; a line that a kill cut off is none."""
    kept = []
    for line in path.read_bytes().splitlines():
        try:
            step = msgspec.json.decode(line, type=dict[str, float])["step"]
        except (msgspec.DecodeError, KeyError):
            continue
        if step < first_step:
            kept.append(line)
    return kept
