"""`st4vla demo`: compile a bundle, serve it, and drive the simulated arm from it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from st4vla.benchmarks.commands.episode_options import add_episode_options, check_episode_options, play_episode
from st4vla.benchmarks.server_process import serving
from st4vla.contracts.command_line import Command
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.compiling import compile_bundle
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.catalogue import choose_backend

#: What an episode is held to: a figure, the bound in words, and its test.
BOUNDS: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
    ("control_ticks", "at least 400", lambda value: value >= 400),
    ("system1_hz", "at least 10", lambda value: value >= 10),
    ("system2_hz", "above 0", lambda value: value > 0),
    ("chunks_late", "0", lambda value: value == 0),
)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, default=Path("bundles/tiny"), help="its folder (default: %(default)s)")
    add_episode_options(parser, "out/demo")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    check_episode_options(options)
    backend = choose_backend()
    bundle = Bundle(options.bundle)
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"compiling {options.bundle} for this machine with {backend.name}")
    engines = options.out / "engines"
    made = compile_bundle(bundle, backend, this_device().fingerprint(backend), engines, report=print)
    served = {
        "bundle": made.bundle_name,
        "bundle_digest": made.bundle_digest,
        "backend": backend.name,
        "processor": made.fingerprint.processor,
        "engines": made.engines,
    }
    with serving(options.bundle, engines, options.out / "server.log") as endpoint:
        print(f'serving on {endpoint}; the arm is told "{options.instruction}" for {options.seconds:g} s\n')
        figures = play_episode(endpoint, options, served)
    missed = [f"{name} is {figures[name]}, wanted {bound}" for name, bound, test in BOUNDS if not test(figures[name])]
    for line in missed:
        print(f"missed: {line}")
    return figures | {"missed": missed, "ok": figures["ok"] and not missed}


COMMAND = Command("Compile a bundle, serve it, and drive the simulated arm from it.", _configure, _run)
