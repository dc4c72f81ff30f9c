"""LLaVA and LLaVA-OneVision: conversations about pictures.

A record has ``id``, ``image`` (a name, a list of names, or null) and ``conversations``, which alternate between
``from`` "human" and "gpt", each with a ``value``; ``<image>`` in a value marks where a picture stands. It comes as a
JSON list, as JSON lines, or, as LLaVA-OneVision-Data is published, as Parquet with the picture's bytes in the column
``image`` {``bytes``, ``path``}. Pictures in bytes are written to the picture folder, under names of their content.

Markers are removed, since pictures are always shown before the first question: fine where a picture is spoken of as a
whole, lossy where a text interleaves several.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from st4vla.contracts.errors import DatasetError, MissingExtraError, UsageError
from st4vla.training.grounding.pictures import Pictures
from st4vla.training.grounding.records import Converted, Options, attempt, read_lines, read_source
from st4vla.training.grounding.samples import GroundingSample, Task, Turn

MARKER = "<image>"
SPEAKERS = ("human", "gpt")
#: Rows of a Parquet file that are in memory at once; pictures weigh up to some megabytes each.
BATCH = 32


class _Said(msgspec.Struct, rename={"speaker": "from"}):
    speaker: str
    value: str


class _Stored(msgspec.Struct, rename={"data": "bytes"}):
    """A picture in a Parquet file."""

    data: bytes | None = None
    path: str | None = None


class _Record(msgspec.Struct):
    conversations: list[_Said]
    id: str | int = ""
    image: str | list[str] | None = None


class _Row(msgspec.Struct):
    conversations: list[_Said]
    id: str | int = ""
    image: _Stored | None = None


def convert_llava_onevision(source: Path, options: Options) -> Iterator[Converted]:
    """Yield a `Task.GENERAL` sample for each conversation about at least one picture.

    Args:
        source: A file ``.json``, ``.jsonl`` or ``.parquet``, or a folder with Parquet files.
        options: `images` is the folder that picture names start from, by default the source's own; for Parquet it must
            be given, and pictures are written there. There are no splits.

    Raises:
        DatasetError: The source cannot be read, or a split was asked for.
        MissingExtraError: Parquet needs pyarrow, which is not installed.
        UsageError: Parquet without a picture folder.
    """
    if options.split is not None:
        msg = f"{source} has no splits; got {options.split!r}; leave --split out and name one file"
        raise DatasetError(msg)
    if source.is_dir() or source.suffix == ".parquet":
        yield from _convert_parquet(source, options.images)
        return
    if source.suffix not in {".json", ".jsonl"}:
        msg = f"{source} ends in {source.suffix!r}; conversations come in .json, .jsonl or .parquet"
        raise DatasetError(msg)
    records = _listed(source) if source.suffix == ".json" else read_lines(source, "JSON lines of conversations")
    pictures = Pictures(options.images or source.parent)
    for place, raw in records:
        yield from attempt(source, place, partial(_samples_of_json, place, raw, pictures))


def _samples_of_json(place: str, raw: Any, pictures: Pictures) -> Iterator[GroundingSample]:
    record = msgspec.json.decode(raw, type=_Record)
    names = [record.image] if isinstance(record.image, str) else (record.image or [])
    turns = _turns(record.conversations, len(names), record.id)
    required = tuple(pictures.require(name) for name in names)
    yield GroundingSample(str(record.id) or place, Task.GENERAL, required, pictures.size(names[0]), turns)


def _samples_of_row(place: str, row: Any, pictures: Pictures) -> Iterator[GroundingSample]:
    record = msgspec.convert(row, _Row)
    stored = record.image or _Stored()
    turns = _turns(record.conversations, int(bool(stored.data or stored.path)), record.id)
    name = pictures.store(stored.data) if stored.data else pictures.require(stored.path or "")
    yield GroundingSample(str(record.id) or place, Task.GENERAL, (name,), pictures.size(name), turns)


def _turns(said: list[_Said], pictures: int, identity: str | int) -> tuple[Turn, ...]:
    """Pair questions with answers.

    Raises:
        ValueError: No picture, more markers than pictures, or speakers that do not alternate.
    """
    markers = sum(one.value.count(MARKER) for one in said)
    if not pictures or markers > pictures:
        msg = f"conversation {identity!r} has {pictures} pictures and {markers} markers {MARKER}"
        raise ValueError(msg)
    speakers = [one.speaker for one in said]
    if not said or len(said) % 2 or speakers != [*SPEAKERS] * (len(said) // 2):
        msg = f"conversation {identity!r} has the speakers {', '.join(speakers)}; human and gpt must alternate"
        raise ValueError(msg)
    texts = [one.value.replace(MARKER, "").strip() for one in said]
    return tuple(Turn(question, answer) for question, answer in zip(texts[::2], texts[1::2], strict=True))


def _listed(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield what names a record and its JSON, from a list; only the text of the list is in memory, not its values."""
    try:
        records = msgspec.json.decode(read_source(path, "a list of conversations"), type=list[msgspec.Raw])
    except msgspec.MsgspecError as error:
        msg = f"{path} is no JSON list of conversations: {error}; JSON lines end in .jsonl"
        raise DatasetError(msg) from error
    yield from ((f"at index {index}", raw) for index, raw in enumerate(records))


def _convert_parquet(source: Path, images: Path | None) -> Iterator[Converted]:
    if images is None:
        msg = f"{source} holds pictures; name a folder to write them to with --images"
        raise UsageError(msg)
    paths = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    if not paths:
        msg = f"{source} holds no .parquet file; name one, or the .json or .jsonl file of the conversations"
        raise DatasetError(msg)
    pictures = Pictures(images)
    for path in paths:
        for place, row in _rows(path):
            yield from attempt(path, place, partial(_samples_of_row, place, row, pictures))


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield what names a row and the row, as dicts and lists."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        msg = f"reading {path} needs pyarrow; install it with: pip install 'st4vla[train]'"
        raise MissingExtraError(msg) from error
    try:
        with pq.ParquetFile(path) as file:
            batches = file.iter_batches(BATCH, columns=["id", "image", "conversations"])
            rows = (row for batch in batches for row in batch.to_pylist())
            yield from ((f"in row {number}", row) for number, row in enumerate(rows))
    except (pa.ArrowException, OSError) as error:
        msg = f"{path} cannot be read: {error}; it should be a Parquet file of conversations"
        raise DatasetError(msg) from error
