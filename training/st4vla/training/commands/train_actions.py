"""`st4vla train actions`: stage 2."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.training.commands.progress import training_progress
from st4vla.training.loop.config_file import read_config


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of stage 2."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE.toml", help="what to train, and on what")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; the same again goes on from there")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace a value of the file")


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Train, and return what the last line says."""
    # PyTorch takes seconds to import: not before the command line is known to be right.
    from st4vla.training.actions.config import ActionsConfig  # noqa: PLC0415
    from st4vla.training.actions.stage import train_actions  # noqa: PLC0415

    config = read_config(options.config, options.set, ActionsConfig)
    with training_progress(config.loop.steps) as progress:
        receipt = train_actions(config, options.out, progress=progress)
    figures = {name: receipt[name] for name in ("before", "after", "steps_of_this_try", "seconds_of_this_try")}
    return {"run": str(options.out), **figures}
