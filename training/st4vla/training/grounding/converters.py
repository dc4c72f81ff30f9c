"""The data sets that can be converted, by name, and the one way in which it is done."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from st4vla.contracts.errors import DatasetError, UsageError
from st4vla.training.grounding.a0 import convert_a0
from st4vla.training.grounding.llava_onevision import convert_llava_onevision
from st4vla.training.grounding.records import Converted, Options, Unreadable
from st4vla.training.grounding.refcoco import convert_refcoco
from st4vla.training.grounding.roborefit import convert_roborefit
from st4vla.training.grounding.samples import GroundingSample, write_samples
from st4vla.training.grounding.tabletop import convert_tabletop

Converter: TypeAlias = Callable[[Path, Options], Iterator[Converted]]

CONVERTERS: Mapping[str, Converter] = {
    "a0": convert_a0,
    "llava-onevision": convert_llava_onevision,
    "refcoco": convert_refcoco,
    "roborefit": convert_roborefit,
    "tabletop": convert_tabletop,
}


@dataclass(frozen=True)
class Conversion:
    """What a conversion came to.

    Attributes:
        samples: How many samples were written, by the name of their task.
        skipped: How many records could not be read.
    """

    samples: Mapping[str, int]
    skipped: int


def get_converter(name: str) -> Converter:
    """Return the converter of a data set.

    Raises:
        UsageError: There is none of this name.
    """
    if name not in CONVERTERS:
        msg = f"no converter is called {name!r}; there are {', '.join(CONVERTERS)}"
        raise UsageError(msg)
    return CONVERTERS[name]


def convert(
    name: str,
    source: Path,
    out: Path,
    options: Options | None = None,
    *,
    skip_bad: bool = False,
    limit: int | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Conversion:
    """Convert a data set as a stream, and write it when all of it is done.

    Args:
        name: Of the data set, from `CONVERTERS`.
        source: The data set, as its converter wants it.
        out: File of JSON lines to write; an old one is replaced only by a whole new one.
        options: Choices of the conversion.
        skip_bad: Pass over a record that cannot be read, after telling `log` its file, its name and what is wrong.
        limit: Stop after this many samples.
        log: Takes one line a skipped record.

    Raises:
        UsageError: There is no such converter.
        DatasetError: The source cannot be read; a record cannot, and `skip_bad` is off; or no sample came of it.
    """
    converted = get_converter(name)(source, options or Options())
    written: Counter[str] = Counter()
    skipped = 0

    def readable() -> Iterator[GroundingSample]:
        nonlocal skipped
        for item in converted:
            if not isinstance(item, Unreadable):
                yield item
            elif skip_bad:
                skipped += 1
                log(str(item))
            else:
                msg = f"{item}; mend it, or pass over such records with --skip-bad"
                raise DatasetError(msg)

    def counted() -> Iterator[GroundingSample]:
        for sample in itertools.islice(readable(), limit):
            written[sample.task.value] += 1
            yield sample
        # Before the file is put in place: an empty one would only be found out in training.
        if not written:
            msg = f"{source} gave no sample, and {skipped} unreadable records; check the source and --split"
            raise DatasetError(msg)

    write_samples(out, counted())
    return Conversion(dict(sorted(written.items())), skipped)
