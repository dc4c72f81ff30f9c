"""`st4vla bench-sampler`: the sampler as a step graph, against one unrolled graph of all steps."""

from __future__ import annotations

import argparse
import datetime
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from st4vla.benchmarks.machine import machine
from st4vla.contracts.command_line import Command, require_positive, table
from st4vla.contracts.ddim import ddim_steps
from st4vla.contracts.errors import MissingExtraError, UsageError
from st4vla.contracts.files import write_atomically
from st4vla.contracts.manifests import CpuSettings
from st4vla.runtime.engines.tensorrt_backend import TensorRtBackend

if TYPE_CHECKING:
    from st4vla.benchmarks.sampler_graphs import Comparison, GraphCosts

TIMES = ("export", "optimise", "load", "chunk", "tensorrt_build")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint")
    parser.add_argument("--steps", type=int, help="of a chunk (default: the checkpoint's own number)")
    parser.add_argument("--repeats", type=int, default=2, help="exports and builds a side (default: %(default)s)")
    parser.add_argument("--chunks", type=int, default=10, help="chunks a side, at least 2 (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads that draw them (default: %(default)s)")
    parser.add_argument("--no-tensorrt", action="store_true", help="leave out builds with TensorRT-RTX")
    parser.add_argument("--out", type=Path, help="write a receipt with every time into this file")
    parser.epilog = "Both sides take turns. TensorRT-RTX builds without a GPU; nothing is run on one."


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    try:
        from st4vla.benchmarks.sampler_graphs import compare  # noqa: PLC0415 - torch and onnx are extras
    except ImportError as error:
        msg = f"this benchmark needs {error.name}; install it with: pip install 'st4vla[export,cpu]'"
        raise MissingExtraError(msg) from error
    require_positive(options, "steps", "repeats", "chunks", "threads")
    if options.chunks < 2:
        msg = f"--chunks {options.chunks}: quartiles need 2 at least"
        raise UsageError(msg)
    if options.steps is not None:
        try:
            ddim_steps(options.steps)
        except ValueError as error:
            msg = f"--steps: {error}"
            raise UsageError(msg) from error
    compiler = None if options.no_tensorrt else TensorRtBackend("tensorrt_rtx", "pip install 'st4vla[rtx]'").library()
    around = _machine(options.threads, compiler)
    with TemporaryDirectory() as work:
        found = compare(
            options.checkpoint,
            Path(work),
            num_steps=options.steps,
            repeats=options.repeats,
            chunks=options.chunks,
            cpu=CpuSettings(options.threads),
            compiler=compiler,
            report=print,
        )
    result = _summary(found)
    print(f"\n{around['processor']}, {around['cores']} cores; preset {found.preset}, {found.num_steps} steps\n")
    print(_table(result["step"], result["unrolled"]))
    ratio, (low, high) = result["unrolled_over_step"]["chunk"], result["chunk_ratio_quartiles"]
    print(f"\na chunk of the unrolled graph takes {ratio:.3f} times as long (quartiles {low:.3f} to {high:.3f})\n")
    if options.out is not None:
        receipt = {
            "what": "the sampler as a step graph, run once a step, against one unrolled graph of all steps, in turns",
            "made_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "command": _command(options),
            "machine": around,
            **result,
            "guidance_scale": found.guidance_scale,
            "costs": found.costs,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out, msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    return result


def _summary(found: Comparison) -> dict[str, Any]:
    """Return the last line: medians, and the ratios of the turns."""
    timed = [name for name in TIMES if getattr(found.costs["step"], name)]
    low, _, high = statistics.quantiles(found.ratios("chunk"), method="inclusive")
    return {
        "preset": found.preset,
        "steps": found.num_steps,
        **{side: _figures(costs) for side, costs in found.costs.items()},
        "unrolled_over_step": {name: round(statistics.median(found.ratios(name)), 3) for name in timed},
        "unrolled_over_step_cpu_time": {
            name: round(statistics.median(found.ratios(name, "cpu_seconds")), 3) for name in timed
        },
        "chunk_ratio_quartiles": [round(low, 3), round(high, 3)],
        "difference": found.difference,
    }


def _figures(costs: GraphCosts) -> dict[str, Any]:
    """Return what is printed of one side: medians of times, and what is no time as it is."""
    figures: dict[str, Any] = {}
    for name in costs.__struct_fields__:
        value = getattr(costs, name)
        if name in TIMES:
            if value:
                figures[f"{name}_s"] = round(statistics.median(each.seconds for each in value), 4)
                figures[f"{name}_cpu_s"] = round(statistics.median(each.cpu_seconds for each in value), 4)
        elif name in ("onnx_bytes", "optimised_bytes"):
            figures[name] = sum(value)
        elif value is not None:
            figures[name] = value
    return figures


def _table(step: Mapping[str, Any], unrolled: Mapping[str, Any]) -> str:
    rows = []
    for name, value in step.items():
        show: Callable[[Any], str] = str
        title = name.replace("_", " ")
        if name.endswith("_bytes"):
            title, show = f"{title.removesuffix(' bytes')}, MB", lambda number: f"{number / 1e6:.2f}"
        elif name == "difference":
            title, show = "difference from PyTorch", "{:.1e}".format
        elif name.endswith("_s"):
            title, show = f"{title.removesuffix(' s')}, s", "{:.3f}".format
        rows.append((title, show(value), show(unrolled[name]), f"{unrolled[name] / value:.2f}" if value else ""))
    return table(rows, ("", "step graph", "unrolled", "unrolled / step"))


def _machine(threads: int, compiler: Any | None) -> dict[str, Any]:
    import onnxruntime  # noqa: PLC0415 - an extra

    return {
        **machine(),
        "threads": threads,
        "onnxruntime": str(onnxruntime.__version__),
        "tensorrt_rtx": None if compiler is None else str(compiler.__version__),
    }


def _command(options: argparse.Namespace) -> str:
    """Return the command line with all defaults spelt out; the checkpoint by its folder's last two names."""
    given = {name: getattr(options, name) for name in ("steps", "repeats", "chunks", "threads")}
    said = "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
    place = Path(*options.checkpoint.parts[-2:])
    return f"st4vla bench-sampler {place}{said}{' --no-tensorrt' if options.no_tensorrt else ''}"


COMMAND = Command("Hold the sampler's step graph against one unrolled graph of all steps.", _configure, _run)
