"""`st4vla bench-recording PICTURES`: what recording a session costs."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from st4vla.contracts.command_line import Command, require_positive, show_progress, table
from st4vla.contracts.errors import UsageError
from st4vla.runtime.recording.needed import require_record_extra
from st4vla.runtime.resizing import Pixels, resize
from st4vla.runtime.sources import open_source

SIDE = 224
#: Of one place.
MOST_PICTURES = 200


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+", help="image folders or video files, shown to the views in turn")
    parser.add_argument(
        "--out", type=Path, help="folder on the disk to record to (default: the system's for such files)"
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=0.0,
        metavar="SIGMA",
        help="add this much Gaussian noise, in levels of 255, as a camera does and a simulator does not (default: 0)",
    )
    parser.add_argument("--hz", type=float, default=60.0, help="frames a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each way runs (default: %(default)s)")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    require_record_extra()
    from st4vla.benchmarks.recording_cost import HEADER, WAYS, measure_way  # noqa: PLC0415

    require_positive(options, "hz", "seconds")
    pictures = [picture for place in options.pictures for picture in _pictures(place)]
    if len(pictures) < 2:
        msg = f"{len(pictures)} pictures; two views need at least 2"
        raise UsageError(msg)
    if options.noise < 0:
        msg = f"--noise {options.noise}: must be 0 or more"
        raise UsageError(msg)
    rng, found = np.random.default_rng(0), []
    pictures = [_noisy(picture, options.noise, rng) for picture in pictures]
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        for done, way in enumerate(WAYS):
            show_progress("ways to record", done, len(WAYS))
            found.append(measure_way(way, pictures, Path(folder), hz=options.hz, seconds=options.seconds))
    print(table([cost.row() for cost in found], HEADER))
    return {"ok": not any(cost.failed for cost in found), "ways": found, "pictures": len(pictures)}


def _pictures(place: str) -> list[Pixels]:
    source, found = open_source(place, 1, loop=False), list[Pixels]()
    try:
        while len(found) < MOST_PICTURES and (picture := source.read()) is not None:
            found.append(resize(picture.pixels, SIDE, SIDE))
    finally:
        source.close()
    return found


def _noisy(picture: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    noisy: Pixels = np.clip(picture + rng.normal(0.0, sigma, picture.shape), 0, 255).astype(np.uint8)
    return noisy


COMMAND = Command("Measure what recording a session costs.", _configure, _run)
