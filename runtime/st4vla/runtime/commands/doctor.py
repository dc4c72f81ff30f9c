"""`st4vla doctor`: what this machine is, which back end it uses and why, and what is missing."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from st4vla.contracts.command_line import Command, table
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.catalogue import BACKENDS
from st4vla.runtime.resizing import compiled_resize

#: Module -> what it is for, and the command that installs it.
OPTIONAL = {
    "torch": ("training, export", "pip install 'st4vla[export]'"),
    "onnx": ("export", "pip install 'st4vla[export]'"),
    "mujoco": ("tabletop simulation", "pip install 'st4vla[sim]'"),
    "robosuite": ("the tabletop's arm and table", "pip install --no-deps robosuite==1.5.2"),
    "av": ("video files and V4L2 cameras", "pip install 'st4vla[video]'"),
    "prometheus_client": ("metrics of a server", "pip install 'st4vla[metrics]'"),
    "matplotlib": ("pictures in reports", "pip install 'st4vla[bench]'"),
}
RESIZING_WITH_PILLOW = "by Pillow; an eighth of the time with: cmake -S . -B build && cmake --build build"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit status 1 when no back end can be used."


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    del options
    device = this_device()
    facts = [
        ("processor", f"{device.processor}, {device.cores} cores, {device.machine}"),
        ("memory", f"{device.memory_bytes / 2**30:.1f} GiB"),
        ("kernel", f"{device.kernel}{', PREEMPT_RT' if device.realtime_kernel else ', not real-time'}"),
        ("GPU", f"{device.gpu.name} {device.gpu.driver}".strip() if device.gpu else "none found"),
        ("JetPack", device.jetpack or "not a Jetson"),
        ("power mode", device.power_mode or "not known"),
        ("Python", sys.version.split()[0]),
        ("resizing", "compiled" if compiled_resize() else RESIZING_WITH_PILLOW),
    ]
    print(table(facts, ("this machine", "")), "\n")
    found = [(backend.name, backend.availability()) for backend in BACKENDS]
    chosen = next((name for name, availability in found if availability.usable), None)
    rows = [
        (name, state.version or "-", "chosen" if name == chosen else "", state.reason, state.remedy)
        for name, state in found
    ]
    print(table(rows, ("back end", "version", "", "why", "to install")), "\n")
    missing = {
        name: (purpose, remedy) for name, (purpose, remedy) in OPTIONAL.items() if not importlib.util.find_spec(name)
    }
    if missing:
        rows_missing = [(name, purpose, remedy) for name, (purpose, remedy) in missing.items()]
        print(table(rows_missing, ("not installed", "is for", "to install")), "\n")
    if device.gpu is None and shutil.which("nvidia-smi") is None:
        print("No NVIDIA driver was found, so engines run on the CPU.\n")
    return {"ok": chosen is not None, "backend": chosen, "machine": device.machine, "missing": sorted(missing)}


COMMAND = Command("Say what this machine is, which back end it uses and why, and what is missing.", _configure, _run)
