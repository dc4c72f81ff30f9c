"""`st4vla train grounding`: stage 1."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.training.commands.progress import counting_progress, training_progress
from st4vla.training.loop.config_file import read_config


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of stage 1."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE.toml", help="what to train, and on what")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; the same again goes on from there")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace a value of the file")


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Train, and return what the last line says."""
    # PyTorch takes seconds to import: not before the command line is known to be right.
    from st4vla.training.grounding.stage import GroundingConfig, train_grounding  # noqa: PLC0415

    config = read_config(options.config, options.set, GroundingConfig)
    with training_progress(config.loop.steps) as progress, counting_progress("boxes asked for") as asking:
        receipt = train_grounding(config, options.out, progress=progress, asking=asking)
    figures = {name: receipt[name] for name in ("accuracy_at_iou_0.5", "steps_of_this_try", "seconds_of_this_try")}
    return {"run": str(options.out), **figures}
