"""`st4vla bench-export`: engines on this CPU against eager PyTorch."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from st4vla.benchmarks.machine import machine
from st4vla.contracts.command_line import Command, require_positive, require_seed, table
from st4vla.contracts.errors import MissingExtraError
from st4vla.contracts.files import write_atomically
from st4vla.contracts.manifests import Bundle


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint")
    parser.add_argument("--float32", type=Path, required=True, help="bundle that `st4vla export` made of it")
    parser.add_argument(
        "--quantised", type=Path, required=True, help="bundle that `st4vla quantize --for cpu` made of it"
    )
    parser.add_argument("--data", type=Path, required=True, help="LeRobot data set: held-out frames to ask")
    parser.add_argument("--frames", type=int, default=4, help="how many (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=6, help="turns that all sides take (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of every side (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which frames (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write a receipt into this file")
    parser.epilog = "Exit status 1 when a ratio or a cosine falls short of its bar. Leave the machine alone meanwhile."


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    try:
        from st4vla.benchmarks import export_speed  # noqa: PLC0415 - torch and onnx are extras
        from st4vla.export.bundle import open_checkpoint  # noqa: PLC0415
        from st4vla.export.eager import EagerPolicy  # noqa: PLC0415
        from st4vla.export.quantization.frames import load_frames  # noqa: PLC0415
    except ImportError as error:
        msg = f"this benchmark needs {error.name}; install it with: pip install 'st4vla[export,cpu]'"
        raise MissingExtraError(msg) from error
    require_positive(options, "frames", "turns", "threads")
    require_seed(options)
    around = machine()
    eager = EagerPolicy(open_checkpoint(options.checkpoint))
    frames = load_frames(eager.checkpoint, options.data, "val", count=options.frames, seed=options.seed)
    bundles = {"float32": Bundle(options.float32), "quantised": Bundle(options.quantised)}
    with TemporaryDirectory() as work:
        found = export_speed.compare(eager, bundles, frames, Path(work), turns=options.turns, threads=options.threads)
    rows = []
    for cost in found.costs:
        bar = export_speed.BARS.get((cost.part, cost.side))
        ratio = found.ratio(cost.part, cost.side)
        rows.append((cost.part, cost.side, cost.median_ms, ratio, "" if bar is None else f"at least {bar:g}"))
    print(f"{around['processor']}, {options.threads} threads, preset {bundles['float32'].manifest.preset}\n")
    print(table(sorted(rows), ("part", "side", "ms", "times eager", "bar")), "\n")
    missed = found.missed()
    for line in missed:
        print(f"missed: {line}")
    result = {
        "ratios": {f"{part} {side}": round(found.ratio(part, side), 3) for part, side in export_speed.BARS},
        "cosines": {side: round(cosine, 6) for side, cosine in found.cosines.items()},
        "missed": missed,
    }
    if options.out is not None:
        receipt = {
            "what": "engines in ONNX Runtime against eager PyTorch with the same checkpoint, in turns",
            "made_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": around | {"threads": options.threads},
            "preset": bundles["float32"].manifest.preset,
            "costs": found.costs,
            **result,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out, msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    return result | {"ok": not missed}


COMMAND = Command("Time engines on this CPU against eager PyTorch with the same checkpoint.", _configure, _run)
