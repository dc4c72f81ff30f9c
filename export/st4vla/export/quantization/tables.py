"""What each block's precision does to the actions, as a table and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from st4vla.contracts.files import write_atomically
from st4vla.export.quantization.sensitivity import Sensitivity

COLUMNS = ("graph", "block", "precision", "cosine_distance", "trajectory_cosine_distance", "joint_error_rad", "chosen")
_DPI = 110
#: From the smallest numbers on.
_ORDER = ("int4", "int8", "int8_dynamic", "half")
#: What counts as no distance at all in the picture.
_FLOOR, _CEILING = 1e-8, 1e-1

Chosen = Mapping[str, Mapping[str, str]]


def table_rows(alone: Sequence[Sensitivity], chosen: Chosen) -> list[tuple[object, ...]]:
    """Return the rows of the table, in the order of `COLUMNS`."""
    return [
        (
            each.graph,
            each.block,
            each.rung,
            f"{each.deviation.distance:.3e}",
            f"{1 - each.deviation.trajectory_cosine:.3e}",
            f"{each.deviation.joint_error_rad:.3e}",
            "yes" if chosen[each.graph][each.block] == each.rung else "",
        )
        for each in alone
    ]


def write_table(path: Path, alone: Sequence[Sensitivity], chosen: Chosen) -> None:
    """Write the table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(table_rows(alone, chosen))
    write_atomically(path, text.getvalue().encode())


def write_picture(path: Path, alone: Sequence[Sensitivity], chosen: Chosen) -> None:
    """Draw one row a block and one column a precision; colour is the cosine distance, a ring is what was chosen."""
    graphs = list(dict.fromkeys(each.graph for each in alone)) or list(chosen)
    rungs = [*(rung for rung in _ORDER if any(each.rung == rung for each in alone)), "float32"]
    blocks = {graph: list(chosen[graph]) for graph in graphs}
    tallest = max(len(each) for each in blocks.values())
    figure = Figure(figsize=(4.2 * len(graphs), 1.6 + 0.24 * tallest), dpi=_DPI, layout="constrained")
    image = None
    for index, graph in enumerate(graphs):
        axes = figure.add_subplot(1, len(graphs), index + 1)
        grid = np.full((len(blocks[graph]), len(rungs)), np.nan)
        for each in alone:
            if each.graph == graph:
                distance = min(max(each.deviation.distance, _FLOOR), _CEILING)
                grid[blocks[graph].index(each.block), rungs.index(each.rung)] = distance
        image = axes.imshow(grid, aspect="auto", cmap="viridis", norm=LogNorm(_FLOOR, _CEILING))
        for row, block in enumerate(blocks[graph]):
            axes.plot(rungs.index(chosen[graph][block]), row, "o", markersize=7, fillstyle="none", color="#D55E00")
        axes.set_xticks(range(len(rungs)), rungs, rotation=30, ha="right", fontsize=8)
        axes.set_yticks(range(len(blocks[graph])), blocks[graph], fontsize=7)
        axes.set_title(graph, fontsize=10)
    if image is not None:
        figure.colorbar(image, ax=figure.axes, label="1 - cosine of actions, this block alone", fraction=0.04)
    figure.suptitle("What each block's precision does to the actions; rings are what was chosen", fontsize=10)
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture, metadata={"Software": None})
    write_atomically(path, picture.getvalue())
