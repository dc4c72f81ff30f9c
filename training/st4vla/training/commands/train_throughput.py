"""`st4vla train throughput`: the joint training step against a plain loop over Hugging Face's own code."""

import argparse
import os
import platform
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import require_positive, table
from st4vla.contracts.errors import StorageError, UsageError
from st4vla.training.commands.progress import counting_progress
from st4vla.training.presets import get_preset

DEVICES, DTYPES = ("cpu", "cuda"), ("float32", "bfloat16")
COUNTS = ("batch_size", "grounding_batch_size", "noise_draws", "pairs", "threads", "planner_layers")
#: Quartiles of the ratio that differ by more than this share of it say little.
FAR_APART = 0.1
#: What is compared, and what a figure of the summary is called.
ROWS = (("seconds a step", "step_s"), ("samples a second", "samples_per_s"), ("peak GPU memory, GB", "peak_gb"))


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--preset", default="tiny", help="sizes of the policy (default: tiny)")
    parser.add_argument("--batch-size", type=int, default=16, help="moments in a step (default: 16)")
    parser.add_argument("--grounding-batch-size", type=int, default=16, help="conversations in a step (default: 16)")
    parser.add_argument("--noise-draws", type=int, default=4, help="noises for each moment (default: 4)")
    parser.add_argument("--pairs", type=int, default=10, help="steps of each side that count (default: 10)")
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: as it likes)")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda, which has not been run yet (default: cpu)")
    parser.add_argument(
        "--dtype", default="float32", help="float32, or on cuda bfloat16: autocast on both sides (default: float32)"
    )
    parser.add_argument("--planner-layers", type=int, metavar="N", help="keep N layers of the language model")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write a receipt with every pair")


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Measure, show a table, write the receipt, and return what the last line says."""
    require_positive(options, *COUNTS)
    get_preset(options.preset)
    for name, known in (("device", DEVICES), ("dtype", DTYPES)):
        if getattr(options, name) not in known:
            msg = f"--{name} {getattr(options, name)}: choose one of {', '.join(known)}"
            raise UsageError(msg)
    if options.device == "cpu" and options.dtype != "float32":
        msg = f"--dtype {options.dtype}: on a CPU this times how well it imitates it; add --device cuda, or use float32"
        raise UsageError(msg)
    _require_place(options.out)
    # PyTorch takes seconds to import: not before the command line is known to be right.
    import torch  # noqa: PLC0415

    from st4vla.training.evaluation.throughput import ThroughputConfig, measure_throughput  # noqa: PLC0415

    if options.device == "cuda" and not torch.cuda.is_available():
        msg = "--device cuda: PyTorch finds no GPU here; use --device cpu, or install PyTorch for this GPU"
        raise UsageError(msg)
    names = set(ThroughputConfig.__struct_fields__) & vars(options).keys()
    config = ThroughputConfig(**{name: getattr(options, name) for name in names})
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    try:
        torch.set_num_threads(options.threads or threads)
        facts = _machine(torch, options.device) | {"load_average_before": load}
        with counting_progress("pairs") as progress:
            found = measure_throughput(config, progress=progress)
    finally:
        torch.set_num_threads(threads)
    summary = found.summary(options.batch_size + options.grounding_batch_size)
    print(_table(summary), file=sys.stderr)
    receipt = {
        "what": "throughput of the joint training step, against a plain loop over Hugging Face's own code",
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": _command(options),
        "machine": facts,
        "sizes": {"learning_parameters": found.parameters, "config": config},
        "losses_before": {name: {"ours": ours, "eager": eager} for name, (ours, eager) in found.losses.items()},
        "pairs": [
            {"first": "eager" if number % 2 else "ours", "ours": ours, "eager": eager}
            for number, (ours, eager) in enumerate(zip(found.ours, found.eager, strict=True))
        ],
        **summary,
    }
    if options.out is not None:
        _write(options.out, receipt)
    short = {"preset": config.preset, "device": config.device, "dtype": config.dtype, "pairs": config.pairs}
    return {**short, **summary, "receipt": None if options.out is None else str(options.out)}


def _require_place(out: Path | None) -> None:
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        msg = f"--out {out}: name a file in a folder that is there"
        raise UsageError(msg)


def _table(summary: Mapping[str, Any]) -> str:
    rows = []
    for title, name in ROWS:
        ours, eager = summary[f"ours_{name}"], summary[f"eager_{name}"]
        if ours is not None:
            rows.append((title, f"{ours:.3f}", f"{eager:.3f}"))
    low, high = summary["ratio_quartiles"]
    least, most = summary["ratio_extremes"]
    spread = f"quartiles {low:.3f} to {high:.3f}, all within {least:.3f} to {most:.3f}"
    doubt = "\nthe pairs lie far apart: give the machine nothing else to do, and measure again"
    return (
        f"{table(rows, ('median', 'ours', 'plain loop'))}\n"
        f"ratio of samples a second {summary['ratio']:.3f} ({spread}); of CPU time {summary['ratio_of_cpu_time']:.3f}"
        f"{doubt if high - low > FAR_APART * summary['ratio'] else ''}"
    )


def _machine(torch: Any, device: str) -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == "model name"]
    return names[0] if names else platform.processor() or platform.machine()


def _command(options: argparse.Namespace) -> str:
    """Return the command line with all defaults spelt out."""
    names = ("preset", *COUNTS, "device", "dtype", "out")
    given = ((name, getattr(options, name)) for name in names)
    said = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in given if value is not None)
    return f"st4vla train throughput {said}"


def _write(path: Path, receipt: Mapping[str, Any]) -> None:
    import msgspec  # noqa: PLC0415

    from st4vla.contracts.files import write_atomically  # noqa: PLC0415

    try:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    except OSError as error:
        msg = f"{path} could not be written: {error.strerror}; free some disk, or name another file with --out"
        raise StorageError(msg) from error
