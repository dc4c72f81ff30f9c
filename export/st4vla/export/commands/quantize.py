"""`st4vla quantize CHECKPOINT --out BUNDLE`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command, report_line, require_positive, require_seed, show_progress, table
from st4vla.contracts.errors import MissingExtraError, UsageError
from st4vla.contracts.manifests import BundleManifest, degradation


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder for the bundle")
    parser.add_argument("--data", type=Path, required=True, help="LeRobot data set: frames for ranges and for judging")
    parser.add_argument(
        "--for", dest="form", default="tensorrt", help="kind of engine: tensorrt or cpu (default: %(default)s)"
    )
    parser.add_argument("--samples", type=Path, help="held-out grounding samples; without them boxes are not judged")
    parser.add_argument(
        "--calibration-samples", type=Path, help="training's grounding samples, whose words give ranges too"
    )
    parser.add_argument("--images", type=Path, help="folder of their pictures (default: the data set)")
    for graph in ("planner", "bridge", "sampler"):
        parser.add_argument(
            f"--{graph}",
            metavar="PRECISION",
            help=f"what the {graph} begins with (tensorrt: int4, int8, half, float32)",
        )
    parser.add_argument(
        "--awq", type=Path, metavar="PYTHON", help="int4 by AWQ: interpreter of an environment with nvidia-modelopt"
    )
    parser.add_argument("--fixed", action="store_true", help="keep to these precisions; raise nothing")
    parser.add_argument(
        "--min-cosine", type=float, default=0.999, help="of actions, at the worst frame (default: %(default)s)"
    )
    parser.add_argument(
        "--max-joint-error", type=float, default=0.02, help="radians, at the worst frame (default: %(default)s)"
    )
    parser.add_argument("--allow-degraded", action="store_true", help="write the bundle even if it misses its gate")
    parser.add_argument("--frames", type=int, default=16, help="held-out frames to judge by (default: %(default)s)")
    parser.add_argument(
        "--calibration-frames", type=int, default=16, help="training frames for ranges (default: %(default)s)"
    )
    parser.add_argument("--boxes", type=int, default=100, help="held-out boxes to ask for (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which frames, noise and boxes (default: %(default)s)")
    parser.add_argument("--name", help="what the bundle is called (default: the folder's name)")
    parser.add_argument("--embodiment", help="whose action statistics it carries")
    parser.epilog = (
        "Measures what each block's precision does to the actions, begins with the smallest numbers, and raises the "
        "worst blocks until the gate holds. A table and a picture lie in the bundle: sensitivity.csv, sensitivity.png."
    )


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    try:
        from st4vla.export.bundle import open_checkpoint  # noqa: PLC0415 - torch and onnx are extras
        from st4vla.export.quantization import quantizing  # noqa: PLC0415
        from st4vla.export.quantization.recipe import get_form  # noqa: PLC0415
        from st4vla.export.quantization.sensitivity import Bounds  # noqa: PLC0415
    except ImportError as error:
        msg = f"quantising needs {error.name}; install it with: pip install 'st4vla[export]'"
        raise MissingExtraError(msg) from error
    require_positive(options, "min_cosine", "max_joint_error", "frames", "calibration_frames", "boxes")
    require_seed(options)
    if options.min_cosine > 1:
        msg = f"--min-cosine {options.min_cosine:g}: no cosine is above 1; name a bound up to 1, such as 0.999"
        raise UsageError(msg)
    form = get_form(options.form)
    checkpoint = open_checkpoint(options.checkpoint)
    manifest = quantizing.quantize_checkpoint(
        checkpoint,
        options.out,
        form,
        quantizing.Material(
            data=options.data,
            calibration_frames=options.calibration_frames,
            held_out_frames=options.frames,
            samples=options.samples,
            calibration_samples=options.calibration_samples,
            images=options.images,
            boxes=options.boxes,
            seed=options.seed,
        ),
        name=options.name or options.out.name,
        embodiment=options.embodiment,
        start={graph: given for graph in form.start if (given := getattr(options, graph)) is not None},
        bounds=Bounds(options.min_cosine, options.max_joint_error),
        fixed=options.fixed,
        allow_degraded=options.allow_degraded,
        modelopt=options.awq,
        report=report_line,
        progress=show_progress,
    )
    return _summary(options.out, manifest)


def _summary(out: Path, manifest: BundleManifest) -> Mapping[str, Any]:
    found = manifest.quantization
    assert found is not None  # noqa: S101 - it was just quantised
    counts = {graph: _counts(list(blocks.values())) for graph, blocks in found.precisions.items()}
    rows = [(graph, ", ".join(f"{count} {name}" for name, count in each.items())) for graph, each in counts.items()]
    report_line(f"\n{table(rows, ('graph', 'blocks'))}\n")
    warning = degradation(manifest)
    if warning is not None:
        print(warning)
    grounding = found.grounding
    return {
        "bundle": str(out),
        "bytes": sum(entry.size for entry in manifest.files.values()),
        "blocks": counts,
        "cosine": round(found.actions.cosine, 6),
        "trajectory_cosine": round(found.actions.trajectory_cosine, 6),
        "joint_error_rad": round(found.actions.joint_error_rad, 6),
        "iou": None if grounding is None else [round(grounding.iou_before, 3), round(grounding.iou_after, 3)],
        "passed": found.passed,
    }


def _counts(precisions: list[str]) -> dict[str, int]:
    return {name: precisions.count(name) for name in sorted(set(precisions))}


COMMAND = Command("Turn a checkpoint into a bundle of smaller numbers that keeps its actions.", _configure, _run)
