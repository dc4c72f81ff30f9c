"""`st4vla data`: bring published data sets into the one format that stage 1 trains on."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command, require_positive, table
from st4vla.contracts.errors import DatasetError, UsageError
from st4vla.training.grounding.converters import CONVERTERS, convert
from st4vla.training.grounding.records import Options


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    parse = actions.add_parser("convert", help="write a data set as questions and answers about pictures")
    parse.add_argument("name", metavar="NAME", help=f"the data set: {', '.join(CONVERTERS)}")
    parse.add_argument("source", metavar="SOURCE", type=Path, help="its folder, or its annotation file")
    parse.add_argument("--images", type=Path, metavar="FOLDER", help="pictures, where they are not below SOURCE")
    parse.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl", help="file to write")
    parse.add_argument("--split", help="take only this part, in the data set's own name for it")
    parse.add_argument("--skip-bad", action="store_true", help="pass over records that cannot be read, naming each")
    parse.add_argument("--limit", type=int, metavar="N", help="stop after this many samples")
    parse.add_argument("--points", action="store_true", help="refcoco: also ask for the centre of each box")
    parse.add_argument("--seed", type=int, default=0, help="chooses among the wordings of a question")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    require_positive(options, "limit")
    source, out, images = options.source, options.out, options.images
    if not source.exists():
        raise DatasetError(f"{source} is not there; name the data set's folder or annotation file")
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name a file with --out")
    try:
        done = convert(
            options.name,
            source,
            out,
            Options(images, options.split, options.seed, options.points),
            skip_bad=options.skip_bad,
            limit=options.limit,
            log=lambda line: print(f"skipped {line}", file=sys.stderr),
        )
    except OSError as error:
        raise UsageError(f"{error.filename or out}: {error.strerror}; write to another place") from error
    print(table([*done.samples.items()], ("task", "samples")))
    return {
        "out": str(out),
        "samples": sum(done.samples.values()),
        "tasks": done.samples,
        "skipped": done.skipped,
    }


COMMAND = Command("Bring data sets into the format of stage 1.", _configure, _run)
