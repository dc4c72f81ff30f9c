"""`st4vla bench-memory export|compile`: the memory that either takes, by weights, and for a whole preset."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from st4vla.contracts.command_line import Command, table
from st4vla.contracts.errors import MissingExtraError, UsageError
from st4vla.contracts.files import write_atomically

_GIB = 2**30
#: Of the checkpoint that is exported, and of the graph that is compiled.
_DTYPES = {"export": ("float32", "bfloat16"), "compile": ("float32", "float16")}


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("export", "compile"), help="which of them to measure")
    parser.add_argument("--preset", default="base", help="whose width the planners have (default: %(default)s)")
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 6, 12], help="of language (default: 2 6 12)")
    parser.add_argument("--vision-layers", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument("--dtype", default="float32", help="of the checkpoint, or of what is compiled")
    parser.add_argument("--capability", default="SM86", help="what to compile for (default: %(default)s)")
    parser.add_argument("--work", type=Path, help="folder for checkpoints and bundles, gigabytes each (default: /tmp)")
    parser.add_argument("--out", type=Path, help="file for the receipt")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    if len(set(options.layers)) < 2 or min(*options.layers, options.vision_layers) < 1:
        shown = " ".join(map(str, options.layers))
        msg = f"--layers {shown} --vision-layers {options.vision_layers}: at least two different depths, all positive"
        raise UsageError(msg)
    allowed = _DTYPES[options.what]
    if options.dtype not in allowed:
        msg = f"--dtype {options.dtype}: {options.what} can be measured for {' and '.join(allowed)}"
        raise UsageError(msg)
    try:
        from st4vla.benchmarks.machine import machine  # noqa: PLC0415
        from st4vla.benchmarks.memory import planners  # noqa: PLC0415 - the exporter is an extra
        from st4vla.benchmarks.memory.growth import fit_line  # noqa: PLC0415
        from st4vla.export.random_checkpoint import count_weights  # noqa: PLC0415
    except ImportError as error:
        msg = f"measuring needs {error.name}; install it with: pip install 'st4vla[export]'"
        raise MissingExtraError(msg) from error
    around = machine()
    exporting = options.what == "export"
    nothing = planners.exporting_nothing() if exporting else planners.compiling_nothing()
    points = []
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        for layers in options.layers:
            depth, folder = planners.Depth(layers, options.vision_layers), Path(work)
            if exporting:
                points.append(planners.measure_export(options.preset, depth, options.dtype, folder))
            else:
                points.append(
                    planners.measure_compile(options.preset, depth, options.dtype, options.capability, folder)
                )
            _report(points[-1], nothing)
    weights = [point.weights for point in points]
    lines = {
        kind: fit_line(weights, [getattr(point.peak, kind) - getattr(nothing, kind) for point in points])
        for kind in ("anonymous", "resident")
    }
    receipt = {
        "what": f"memory of {options.what}, a planner of full width and few layers",
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["st4vla", "bench-memory", *sys.argv[2:]]),
        "machine": around,
        "baseline": nothing,
        "points": points,
        "lines": lines,
    }
    if exporting:
        whole = count_weights(options.preset) * 4
        receipt["whole_preset"] = {
            "weights": whole,
            **{f"{kind}_over_weights": line.at(whole) / whole for kind, line in lines.items()},
        }
    rows = [(kind, line.slope, line.constant / _GIB, line.largest_residual / _GIB) for kind, line in lines.items()]
    print("\n" + table(rows, ("above the baseline", "bytes a byte of weights", "constant, GiB", "residual, GiB")), "\n")
    if options.out is not None:
        write_atomically(options.out, msgspec.json.format(msgspec.json.encode(receipt, enc_hook=str), indent=2) + b"\n")
    return {name: receipt[name] for name in ("lines", "whole_preset") if name in receipt}


def _report(point: Any, nothing: Any) -> None:
    above = [(getattr(point.peak, kind) - getattr(nothing, kind)) / _GIB for kind in ("anonymous", "resident")]
    print(
        f"{point.depth.language} layers: {point.weights / _GIB:.2f} GiB of weights, "
        f"{above[0]:.2f} GiB anonymous, {above[1]:.2f} GiB resident, {point.peak.seconds:.0f} s",
        flush=True,
    )


COMMAND = Command("Measure how much memory exporting or compiling a planner takes, by its weights.", _configure, _run)
