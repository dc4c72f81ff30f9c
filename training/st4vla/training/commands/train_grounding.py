"""`st4vla train grounding`: stage 1."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    shown = sys.stderr.isatty()

    def progress(step: int, loss: float) -> None:
        if shown or (step + 1) % 100 == 0 or step + 1 == config.loop.steps:
            text = f"step {step + 1} of {config.loop.steps}: loss {loss:.4f}"
            print(f"\r{text}" if shown else text, end="" if shown else "\n", file=sys.stderr, flush=True)

    receipt = train_grounding(config, options.out, progress=progress)
    figures = {name: receipt[name] for name in ("accuracy_at_iou_0.5", "steps_of_this_try", "seconds_of_this_try")}
    return {"run": str(options.out), **figures}
