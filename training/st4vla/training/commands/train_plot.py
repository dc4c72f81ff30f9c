"""`st4vla train plot`: a run's metrics as pictures."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("run", type=Path, help="folder of a run of stage 1 or 2")
    parser.add_argument("--out", type=Path, help="folder for the pictures (default: `plots` in that of the run)")


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Draw, and return what the last line says."""
    # PyTorch takes seconds to import: not before the command line is known to be right.
    from st4vla.training.evaluation.run_plots import plot_run  # noqa: PLC0415

    pictures = plot_run(options.run, options.out or options.run / "plots")
    return {"run": str(options.run), "pictures": [str(picture) for picture in pictures]}
