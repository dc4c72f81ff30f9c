"""Metrics of a run as JSON lines, one a step, and as events for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from typing_extensions import Self

from st4vla.contracts.errors import MissingExtraError, StorageError
from st4vla.contracts.files import write_atomically


class MetricsLog:
    """Append to `metrics.jsonl` and to a folder of TensorBoard's event files; used as a context manager.

    A run that goes on from step n forgets what an earlier try said of step n and later, so that each step stands once.
    In the event files those steps are marked as void, and TensorBoard passes them over.

    Args:
        path: The file.
        first_step: The first step that will be logged.
        events: Folder of the event files; None writes none.

    Raises:
        StorageError: A file cannot be written.
        MissingExtraError: There are to be event files, and TensorBoard is not installed.
    """

    def __init__(self, path: Path, first_step: int, events: Path | None = None) -> None:
        self._path = path
        self._writer = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                write_atomically(path, b"".join(line + b"\n" for line in _lines_before(path, first_step)))
            if events is not None:
                self._writer = _event_writer(events, first_step)
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
            if self._writer is not None:
                for name, value in values.items():
                    self._writer.add_scalar(name, value, step)
                self._writer.flush()
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if self._writer is not None:
            self._writer.close()

    def _failure(self, error: OSError) -> StorageError:
        return StorageError(f"{self._path} cannot be written: {error.strerror}; free some disk and run again to go on")


def _event_writer(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
    except ImportError as error:
        msg = f"event files need TensorBoard ({error}); pip install 'st4vla[train]'"
        raise MissingExtraError(msg) from error
    return SummaryWriter(str(folder), purge_step=first_step)


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
