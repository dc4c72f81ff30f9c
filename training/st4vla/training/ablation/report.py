"""What came out of the rows: one table, one receipt, and the curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import msgspec

from st4vla.contracts.files import write_atomically
from st4vla.training.ablation.rows import TITLES, AblationConfig, Row
from st4vla.training.evaluation.plots import plot_curves
from st4vla.training.loop.receipt import RECEIPT, write_receipt
from st4vla.training.loop.trainer import METRICS

TABLE = "table.md"
BOXES, SQUARED, ABSOLUTE = "held_out_boxes", "held_out_squared_ratio", "held_out_absolute_ratio"
SIMILARITY, CHANCE, COSINE = "similarity", "similarity_chance", "gradient_cosine"
HEADINGS = (
    "row",
    "boxes before",
    "boxes after",
    "squared error / mean chunk's",
    "absolute error / mean chunk's",
    "PSS",
    "PSS by chance",
    "gradient cosine",
)
#: File of a plot, the figure it shows, its axis and its title.
PLOTS = (
    ("grounding.png", BOXES, "boxes with IoU above 0.5", "Grounding kept through action training"),
    ("similarity.png", SIMILARITY, "projection-space similarity", "Do the two objectives' gradients agree?"),
    ("error.png", SQUARED, "squared error / mean chunk's", "Held-out action error"),
)


@dataclass(frozen=True)
class RunResult:
    """One run.

    Attributes:
        before: Figures before the first step.
        after: Figures after the last.
        curves: Name of a figure to (steps done, value).
        seconds: How long the last try trained, measurements along the way included.
    """

    before: Mapping[str, float]
    after: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[float, float]]]
    seconds: float


@dataclass(frozen=True)
class RowResult:
    """A row's runs, one a seed."""

    row: Row
    runs: Sequence[RunResult]

    def after(self, name: str) -> list[float]:
        """Return a figure after training, of each run that has it."""
        return [run.after[name] for run in self.runs if name in run.after]

    def mean_curve(self, name: str) -> list[tuple[float, float]]:
        """Return the mean over the runs of a figure at each step that all of them measured."""
        columns = zip(*(run.curves.get(name, ()) for run in self.runs), strict=False)
        return [(points[0][0], mean(value for _, value in points)) for points in columns]

    def range_curve(self, name: str) -> tuple[list[float], list[float]]:
        """Return the smallest and the largest value at each step of `mean_curve`."""
        columns = list(zip(*(run.curves.get(name, ()) for run in self.runs), strict=False))
        values = [[value for _, value in points] for points in columns]
        return [min(each) for each in values], [max(each) for each in values]

    def mean_over_run(self, name: str) -> list[float]:
        """Return, for each run, the mean of a figure over its whole curve."""
        return [mean(value for _, value in run.curves[name]) for run in self.runs if run.curves.get(name)]


class _Receipt(msgspec.Struct):
    before: dict[str, float]
    after: dict[str, float]
    seconds_of_this_try: float


def read_result(folder: Path) -> RunResult:
    """Read what a run of stage 2 left."""
    receipt = msgspec.json.decode((folder / RECEIPT).read_bytes(), type=_Receipt)
    curves: dict[str, list[tuple[float, float]]] = {
        name: [(0.0, receipt.before[name])] for name in (BOXES, SQUARED, ABSOLUTE) if name in receipt.before
    }
    for line in (folder / METRICS).read_bytes().splitlines():
        values = msgspec.json.decode(line, type=dict[str, float])
        for name in (BOXES, SQUARED, ABSOLUTE, SIMILARITY, CHANCE, COSINE):
            if name in values:
                curves.setdefault(name, []).append((values["step"] + 1, values[name]))
    return RunResult(receipt.before, receipt.after, curves, receipt.seconds_of_this_try)


def write_report(
    run: Path, results: Sequence[RowResult], config: AblationConfig, *, seconds_of_this_try: float
) -> None:
    """Write the table, the receipt and the plots of all rows."""
    write_atomically(run / TABLE, format_table(results).encode())
    receipt = {
        "what": "ablation of spatial guidance",
        "rows": {each.row.value: _figures(each) for each in results},
        "seconds_of_this_try": round(seconds_of_this_try, 1),
        "config": config,
    }
    write_receipt(run, receipt)
    for file, name, axis, title in PLOTS:
        shown = [each for each in results if each.mean_curve(name)]
        if shown:
            plot_curves(
                run / file,
                {TITLES[each.row]: each.mean_curve(name) for each in shown},
                x="action training steps",
                y=axis,
                title=f"{title} (mean and range of {len(config.seeds)} seeds)",
                band={TITLES[each.row]: each.range_curve(name) for each in shown},
            )


def format_table(results: Sequence[RowResult]) -> str:
    """Return the table in Markdown: mean and standard deviation over the seeds."""
    lines = [f"| {' | '.join(HEADINGS)} |", "| --- " * len(HEADINGS) + "|"]
    for each in results:
        before = [run.before[BOXES] for run in each.runs if BOXES in run.before]
        cells = [
            before,
            *(each.after(name) for name in (BOXES, SQUARED, ABSOLUTE)),
            *(each.mean_over_run(name) for name in (SIMILARITY, CHANCE, COSINE)),
        ]
        lines.append(f"| {TITLES[each.row]} | {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "not measured"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def _figures(result: RowResult) -> list[dict[str, object]]:
    return [
        {"before": run.before, "after": run.after, "curves": run.curves, "seconds": run.seconds} for run in result.runs
    ]
