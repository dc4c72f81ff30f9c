"""`st4vla compile BUNDLE`: engines for this machine."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command, report_line, show_progress
from st4vla.contracts.manifests import Bundle, degradation
from st4vla.runtime.compiling import compile_bundle, default_engines_folder
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.catalogue import choose_backend


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument("--out", type=Path, help="folder for the engines (default: in the user's cache)")
    parser.add_argument("--backend", help="engine library (default: the best one that works here)")
    parser.add_argument("--again", action="store_true", help="compile even if nothing has changed since the last time")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    backend = choose_backend(options.backend)
    bundle = Bundle(options.bundle)
    target = options.out or default_engines_folder(bundle)
    said: list[str] = []

    def report(line: str) -> None:
        said.append(line)
        report_line(line)

    fingerprint = this_device().fingerprint(backend)
    manifest = compile_bundle(
        bundle, backend, fingerprint, target, again=options.again, report=report, progress=show_progress
    )
    if not said:
        print("nothing has changed since these engines were compiled; --again compiles them anyway")
    return {
        "engines": str(target),
        "degraded": degradation(bundle.manifest) is not None,
        "backend": backend.name,
        "parity": {name: entry.parity.max_relative for name, entry in manifest.engines.items()}
        | {"actions": manifest.actions.max_relative},
        "latency_ms": {name: round(entry.latency_ms, 3) for name, entry in manifest.engines.items()},
        "cpu": {name: entry.cpu for name, entry in manifest.engines.items() if entry.cpu},
    }


COMMAND = Command("Compile a bundle into engines for this machine and check them.", _configure, _run)
