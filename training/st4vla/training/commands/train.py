"""`st4vla train`: begin a policy."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command
from st4vla.contracts.errors import UsageError
from st4vla.training.presets import get_preset


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    init = actions.add_parser("init", help="write an untrained policy")
    init.add_argument("--preset", default="tiny", help="sizes and action space to begin with")
    init.add_argument("--seed", type=int, default=0, help="the same seed gives the same weights")
    init.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    init.add_argument("--force", action="store_true", help="write into a folder that is not empty")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    get_preset(options.preset)
    out: Path = options.out
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not options.force:
        raise UsageError(f"{out} is not empty; choose another folder with --out, or overwrite it with --force")
    # PyTorch takes seconds to import: not before the command line is known to be right.
    from st4vla.training.checkpoint import init_checkpoint, save_checkpoint  # noqa: PLC0415

    checkpoint = init_checkpoint(options.preset, options.seed)
    manifest = save_checkpoint(out, checkpoint)
    parameters = sum(parameter.numel() for parameter in checkpoint.policy.parameters())
    return {
        "checkpoint": str(out),
        "preset": manifest.preset,
        "seed": manifest.seed,
        "parameters": parameters,
        "files": {name: entry.size for name, entry in manifest.files.items()},
    }


COMMAND = Command("Write an untrained policy.", _configure, _run)
