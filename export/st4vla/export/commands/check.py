"""`st4vla check BUNDLE --target DEVICE`: whether a bundle can go to a device, without the device.

`st4vla check --preset NAME` says which devices would hold a preset, in which precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command, table
from st4vla.contracts.errors import MissingExtraError, UsageError
from st4vla.contracts.manifests import Bundle, degradation
from st4vla.export.targets import TARGETS, Target, get_target


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, nargs="?", help="folder of a bundle")
    parser.add_argument("--preset", help="instead of a bundle: plan the memory of a preset, in all precisions")
    parser.add_argument("--target", help=f"the device: {', '.join(TARGETS)}; a preset is planned for all unless named")
    parser.add_argument("--no-build", action="store_true", help="do not compile for the nearest GPU")
    parser.epilog = (
        "Compiles with TensorRT-RTX, which needs no GPU, for the nearest GPU that it knows. The engine that the device "
        "runs is compiled there, by st4vla compile. Exit status 1 when the bundle cannot go to the device. The graphs "
        "of a preset are exported without weights, which takes minutes for a large one."
    )


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    if (options.bundle is None) == (options.preset is None):
        given = f"both {options.bundle} and --preset {options.preset}" if options.bundle else "neither"
        msg = f"{given} given: name the folder of a bundle, or a preset with --preset"
        raise UsageError(msg)
    target = None if options.target is None else get_target(options.target)
    if options.preset is not None:
        return _plan_preset(options.preset, [target] if target else list(TARGETS.values()))
    if target is None:
        msg = f"no device given: name one with --target, of {', '.join(TARGETS)}"
        raise UsageError(msg)
    return _check_bundle(options.bundle, target, build=not options.no_build)


def _check_bundle(folder: Path, target: Target, *, build: bool) -> Mapping[str, Any]:
    try:
        from st4vla.export.checking import check_bundle  # noqa: PLC0415 - onnx is an extra
        from st4vla.export.memory_plan import plan_rows  # noqa: PLC0415
    except ImportError as error:
        raise _missing(error) from error
    bundle = Bundle(folder)
    warning = degradation(bundle.manifest)
    if warning is not None:
        print(warning)
    verdict = check_bundle(bundle, target, build=build, report=print)
    print(table(plan_rows(verdict.plan), (f"memory on {target.title}, modelled", "MiB")), "\n")
    for problem in verdict.problems:
        print(problem)
    plan = verdict.plan
    return {
        "ok": not verdict.problems,
        "target": target.name,
        "degraded": warning is not None,
        "problems": verdict.problems,
        "memory_bytes": {"serving": plan.running, "compiling": plan.building, "left": plan.left, "measured": False},
        "compiled": {
            name: {"for": target.nearest, "seconds": round(seconds, 2), "bytes": size}
            for name, (seconds, size) in verdict.built.items()
        },
    }


def _plan_preset(preset: str, targets: list[Target]) -> Mapping[str, Any]:
    try:
        from st4vla.export.checking import preset_memory  # noqa: PLC0415 - onnx is an extra
        from st4vla.export.graph_memory import EXPORTED, PRECISIONS  # noqa: PLC0415
        from st4vla.export.memory_plan import MemoryPlan, overview_rows  # noqa: PLC0415

        graphs = preset_memory(preset, report=print)
    except ImportError as error:
        raise _missing(error) from error
    plans = [MemoryPlan(target, graphs) for target in targets]
    header = ("MiB left, modelled; negative is missing", "while", "float32", *PRECISIONS)
    print("\n" + table(overview_rows(plans), header), "\n")
    # A preset is exported in float32.
    names = {"float32": EXPORTED, **{precision: precision for precision in PRECISIONS}}
    needs = {name: plans[0].in_precision(precision) for name, precision in names.items()}
    left = {
        plan.target.name: {name: plan.in_precision(precision).left for name, precision in names.items()}
        for plan in plans
    }
    return {
        "preset": preset,
        "memory_bytes": {
            **{name: {"serving": plan.running, "compiling": plan.building} for name, plan in needs.items()},
            "measured": False,
        },
        "left_bytes": left,
        "fits": {target: [name for name, size in sizes.items() if size >= 0] for target, sizes in left.items()},
    }


def _missing(error: ImportError) -> MissingExtraError:
    return MissingExtraError(f"checking needs {error.name}; install it with: pip install 'st4vla[export]'")


COMMAND = Command("Say whether a bundle can go to a device, without the device.", _configure, _run)
