"""`st4vla whole-way`: rendered frames, bridge, runtime, player, libfranka and virtual Franka, in separate processes."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from st4vla.benchmarks.machine import machine
from st4vla.contracts.command_line import Command, require_positive, require_seed
from st4vla.contracts.errors import MissingExtraError, UsageError
from st4vla.contracts.files import write_atomically
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.compiling import compile_bundle
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.catalogue import choose_backend
from st4vla.runtime.real_time import require_core

#: Pictures go through memory where there is such a folder.
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, default=Path("bundles/tiny"), help="its folder (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: %(default)s)")
    parser.add_argument(
        "--kills", type=int, metavar="N", help="instead: kill the runtime N times in mid-motion, and see the arm rest"
    )
    parser.add_argument(
        "--through", choices=("auto", "libfranka", "pylibfranka"), default="auto", help="as of `st4vla drive`"
    )
    parser.add_argument(
        "--cpu", type=int, help="the core that the control loop and the virtual Franka share (default: the last)"
    )
    parser.add_argument("--apart", action="store_true", help="let the two run on any core instead")
    parser.add_argument("--seed", type=int, default=0, help="where the objects lie (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("out/whole_way"), help="for the receipt (default: %(default)s)"
    )


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    require_positive(options, "seconds", "kills")
    require_seed(options)
    cpu = _core(options)
    try:
        from st4vla.benchmarks.virtual_franka.process import free_address  # noqa: PLC0415 - the simulator is an extra
        from st4vla.benchmarks.whole_way import kills, run  # noqa: PLC0415
        from st4vla.benchmarks.whole_way.processes import Setup, free_endpoint  # noqa: PLC0415
    except ImportError as error:
        msg = f"the whole way needs {error.name}; install it with: pip install 'st4vla[sim,franka]'"
        raise MissingExtraError(msg) from error
    backend, bundle = choose_backend(), Bundle(options.bundle)
    engines = options.out / "engines"
    options.out.mkdir(parents=True, exist_ok=True)
    compile_bundle(bundle, backend, this_device().fingerprint(backend), engines, report=print)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as made:
        setup = Setup(
            Path(made),
            options.bundle,
            engines,
            options.seed,
            free_address(),
            free_endpoint(),
            ("--through", options.through),
            cpu,
        )
        if options.kills is None:
            figures = run.run(setup, options.seconds)
            missed = run.missed(figures, options.seconds)
        else:
            figures = kills.run(setup, options.kills)
            missed = kills.missed(figures)
    for line in missed:
        print(f"missed: {line}")
    receipt = {
        "what": "the whole way" if options.kills is None else "the whole way, its runtime killed in mid-motion",
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "bundle": bundle.manifest.name,
        "seed": options.seed,
        "shared_core": cpu,
        "figures": figures,
        "missed": missed,
    }
    name = "whole_way.json" if options.kills is None else "whole_way_kills.json"
    write_atomically(options.out / name, msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    return figures | {"missed": missed, "ok": not missed}


def _core(options: argparse.Namespace) -> int | None:
    """Return the core that control loop and robot share: what the machine takes from one, it takes from both.

    Raises:
        UsageError: This process may not run there, or two things were asked for.
    """
    if options.apart:
        if options.cpu is not None:
            msg = "--cpu and --apart exclude each other: one core for both, or any for each"
            raise UsageError(msg)
        return None
    require_core(options.cpu)
    return max(os.sched_getaffinity(0)) if options.cpu is None else int(options.cpu)


COMMAND = Command("Drive a virtual Franka from rendered pictures, through everything in between.", _configure, _run)
