"""`st4vla check BUNDLE --target DEVICE`: whether a bundle can go to a device, without the device."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command, table
from st4vla.contracts.errors import MissingExtraError
from st4vla.contracts.manifests import Bundle
from st4vla.export.targets import TARGETS, get_target


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument("--target", required=True, help=f"the device: {', '.join(TARGETS)}")
    parser.add_argument("--no-build", action="store_true", help="do not compile for the nearest GPU")
    parser.epilog = (
        "Compiles with TensorRT-RTX, which needs no GPU, for the nearest GPU that it knows. The engine that the device "
        "runs is compiled there, by st4vla compile. Exit status 1 when the bundle cannot go to the device."
    )


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    try:
        from st4vla.export.checking import check_bundle  # noqa: PLC0415 - onnx is an extra
        from st4vla.export.memory_plan import plan_rows  # noqa: PLC0415
    except ImportError as error:
        msg = f"checking needs {error.name}; install it with: pip install 'st4vla[export]'"
        raise MissingExtraError(msg) from error
    target = get_target(options.target)
    verdict = check_bundle(Bundle(options.bundle), target, build=not options.no_build, report=print)
    print(table(plan_rows(verdict.plan), (f"memory on {target.title}, modelled", "MiB")), "\n")
    for problem in verdict.problems:
        print(problem)
    plan = verdict.plan
    return {
        "ok": not verdict.problems,
        "target": target.name,
        "problems": verdict.problems,
        "memory_bytes": {"serving": plan.running, "compiling": plan.building, "left": plan.left, "measured": False},
        "compiled": {
            name: {"for": target.nearest, "seconds": round(seconds, 2), "bytes": size}
            for name, (seconds, size) in verdict.built.items()
        },
    }


COMMAND = Command("Say whether a bundle can go to a device, without the device.", _configure, _run)
