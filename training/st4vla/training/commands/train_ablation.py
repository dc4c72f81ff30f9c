"""`st4vla train ablation`: the paper's four rows on equal budgets."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.training.loop.config_file import read_config


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the ablation."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE.toml", help="what to train, and on what")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; those that are done are kept")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace a value of the file")


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Train all rows, print the table, and return what the last line says."""
    # PyTorch takes seconds to import: not before the command line is known to be right.
    from st4vla.training.ablation.report import BOXES, SQUARED, TABLE, format_table  # noqa: PLC0415
    from st4vla.training.ablation.rows import TITLES, AblationConfig, Row  # noqa: PLC0415
    from st4vla.training.ablation.run import train_ablation  # noqa: PLC0415

    config = read_config(options.config, options.set, AblationConfig)

    def progress(row: Row, seed: int, done: int, total: int) -> None:
        print(f"{TITLES[row]}, seed {seed}: run {done} of {total} is done", file=sys.stderr, flush=True)

    results = train_ablation(config, options.out, progress=progress)
    print(format_table(results), file=sys.stderr)
    rows = {each.row.value: {name: each.after(name) for name in (BOXES, SQUARED)} for each in results}
    return {"run": str(options.out), "table": str(options.out / TABLE), "rows": rows}
