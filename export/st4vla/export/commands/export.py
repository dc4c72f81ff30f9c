"""`st4vla export CHECKPOINT --out BUNDLE`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command
from st4vla.contracts.errors import MissingExtraError


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder for the bundle")
    parser.add_argument("--name", help="what the bundle is called (default: the folder's name)")
    parser.add_argument("--embodiment", help="whose action statistics it carries")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    try:
        import torch  # noqa: PLC0415 - torch and onnx are extras

        from st4vla.export.bundle import export_bundle  # noqa: PLC0415
        from st4vla.training.checkpoint import load_checkpoint  # noqa: PLC0415
    except ImportError as error:
        msg = f"exporting needs {error.name}; install it with: pip install 'st4vla[export]'"
        raise MissingExtraError(msg) from error
    # Graphs, folds and golden numbers are float32; precision is a matter of quantising them.
    checkpoint = load_checkpoint(options.checkpoint, torch.float32)
    name = options.name or options.out.name
    manifest = export_bundle(checkpoint, options.out, name=name, embodiment=options.embodiment)
    return {"bundle": str(options.out), "bytes": sum(entry.size for entry in manifest.files.values())}


COMMAND = Command("Turn a checkpoint into a bundle of ONNX graphs.", _configure, _run)
