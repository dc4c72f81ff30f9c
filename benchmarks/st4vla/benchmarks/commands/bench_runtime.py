"""`st4vla bench-runtime`: the runtime against others' wires and against itself."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from st4vla.contracts.command_line import Command, report_line, require_positive, require_seed, table
from st4vla.contracts.errors import MissingExtraError, UsageError
from st4vla.contracts.files import write_atomically
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.memory import keep_freed_memory

if TYPE_CHECKING:
    from st4vla.benchmarks.serving.round_trip import RoundTrips

CLIENTS = (1, 8)
#: How many of the frames a policy is asked about, once for each resize.
DIFFERENCE_FRAMES = 3


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, nargs="?", help="folder of a bundle whose engines contend for the cores")
    parser.add_argument("--round-trips-only", action="store_true", help="nothing else, for which no bundle is needed")
    parser.add_argument("--turns", type=int, default=30, help="turns of round trips (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="length of each stream and each contention (default: %(default)s)"
    )
    parser.add_argument("--contentions", type=int, default=3, help="turns of contention (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of pictures and moments (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write a receipt into this file")
    parser.epilog = "Exit status 1 when a figure falls short of its bar. Leave the machine alone meanwhile."


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    try:
        from st4vla.benchmarks import preprocessing, resize_actions  # noqa: PLC0415 - extras
        from st4vla.benchmarks.machine import machine  # noqa: PLC0415
        from st4vla.benchmarks.opened_bundle import opened  # noqa: PLC0415
        from st4vla.benchmarks.resizers import resizers  # noqa: PLC0415
        from st4vla.benchmarks.serving import contention, frame_age, reaction, round_trip  # noqa: PLC0415
    except ImportError as error:
        msg = f"this benchmark needs {error.name}; install it with: pip install 'st4vla[bench,sim,doors,cpu]'"
        raise MissingExtraError(msg) from error
    require_positive(options, "turns", "seconds", "contentions")
    require_seed(options)
    if options.bundle is None and not options.round_trips_only:
        msg = "bench-runtime needs the folder of a bundle, or --round-trips-only"
        raise UsageError(msg)
    bundle, around = None if options.bundle is None else Bundle(options.bundle), machine()
    # For all sides alike: what a client of ours does in a process of its own.
    keep_freed_memory()
    trips = round_trip.measure(options.turns, options.seed)
    _show("Round trip with a policy that thinks nothing, two raw views of 224 px", trips.rows(), round_trip.HEADER)
    if bundle is None or options.round_trips_only:
        return _finish({"round_trip_ms": _medians(trips), "missed": trips.missed()}, {"machine": around}, options.out)
    frames = resize_actions.tabletop_frames(8)
    pictures = [picture for frame in frames for picture in frame.values()]
    prepared = preprocessing.measure(pictures, side=224, turns=options.turns)
    kind = "compiled" if prepared.compiled else "not compiled: build the firmware bridge first"
    _show(f"Preprocessing of 640 x 480 to 224 px; ours is {kind}", prepared.rows(), preprocessing.HEADER)
    with TemporaryDirectory() as work:
        with opened(bundle, Path(work) / "engines") as policy:
            differences = resize_actions.action_differences(policy, frames[:DIFFERENCE_FRAMES], resizers())
        _show(
            f"Largest difference in actions of {bundle.manifest.name} from views resized as in training",
            [each.row() for each in differences],
            resize_actions.HEADER,
        )
        rates = contention.measure(bundle, Path(work) / "engines", turns=options.contentions, seconds=options.seconds)
    _show(f"System 1 of {bundle.manifest.name} beside System 2", rates.rows(), contention.HEADER)
    reactions = [reaction.measure(plan_ms, options.seconds, options.seed) for plan_ms in reaction.PLANS_MS]
    _show("Reaction to a change in the image", [each.row() for each in reactions], reaction.HEADER)
    ages = [frame_age.measure(clients, options.seconds) for clients in CLIENTS]
    _show("60 frames a second into a policy of 50 ms", [each.row() for each in ages], frame_age.HEADER)
    missed = trips.missed() + rates.missed()
    missed += [line for each in reactions for line in each.missed()] + [line for each in ages for line in each.missed()]
    result = {
        "round_trip_ms": _medians(trips),
        "system1_share": round(rates.share, 3),
        "reaction_ratio": {f"{each.plan_ms:g}": round(each.ratio, 2) for each in reactions},
        "oldest_frame_ms": {str(each.clients): round(max(each.ages_ms), 2) for each in ages},
        "missed": missed,
    }
    more = {
        "machine": around,
        "bundle": bundle.manifest.name,
        "preprocessing": prepared,
        "differences_in_actions": differences,
        "contention": rates,
    }
    return _finish(result, more, options.out)


def _medians(trips: RoundTrips) -> dict[str, float]:
    return {side.name: round(side.percentile_ms(50), 4) for side in trips.sides}


def _finish(result: dict[str, Any], more: dict[str, Any], out: Path | None) -> Mapping[str, Any]:
    """Say what was missed, write the receipt, and return the last line."""
    for line in result["missed"]:
        report_line(f"missed: {line}")
    if out is not None:
        receipt = {
            "what": "the runtime against others' wires and against itself, each side in a process of its own",
            "made_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            **more,
            **result,
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    return result | {"ok": not result["missed"]}


def _show(title: str, rows: list[tuple[object, ...]], header: tuple[str, ...]) -> None:
    report_line(f"{title}\n\n{table(rows, header)}\n")


COMMAND = Command("Measure the runtime against others' wires and against itself.", _configure, _run)
