"""Curves of a training as pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from st4vla.contracts.errors import MissingExtraError, StorageError, UsageError
from st4vla.contracts.files import write_atomically

WIDTH, HEIGHT = 900, 560
DPI = 100
#: Okabe and Ito's colours, which the common kinds of colour blindness tell apart, without the yellow that white drowns.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dashed", "dotted", "dashdot")
#: A curve of at most so many points shows them as dots.
FEW_POINTS = 30

Curve = Sequence[tuple[float, float]]
Band = tuple[Sequence[float], Sequence[float]]


def plot_curves(
    path: Path,
    curves: Mapping[str, Curve],
    *,
    x: str,
    y: str,
    title: str,
    log_y: bool = False,
    band: Mapping[str, Band] | None = None,
) -> None:
    """Draw curves into one picture: a PNG of `WIDTH` by `HEIGHT` pixels, whose bytes depend on the arguments only.

    Args:
        path: Where to, atomically; its folder is made.
        curves: What the legend calls a curve, to its points (x, y). A point that is not finite is a gap.
        x: Written along the horizontal axis.
        y: Written along the vertical axis.
        title: Written above.
        log_y: Logarithmic vertical axis.
        band: Name of a curve to the lower and upper ends, one for each of its points, of what is shaded around it.

    Raises:
        UsageError: No curve, one without points, a band that fits no curve, or a value up to 0 on a logarithmic axis.
        MissingExtraError: matplotlib is not installed.
        StorageError: The picture cannot be written.
    """
    bands = band or {}
    _check(curves, bands, log_y)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        msg = "drawing curves needs matplotlib; install it with: pip install 'st4vla[train]'"
        raise MissingExtraError(msg) from error
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    styles = cycle([(colour, dash) for dash in DASHES for colour in COLOURS])
    for (name, points), (colour, dash) in zip(curves.items(), styles):  # noqa: B905 - styles have no end
        across, up = [point[0] for point in points], [point[1] for point in points]
        marker = "o" if len(points) <= FEW_POINTS else None
        axes.plot(across, up, label=name, color=colour, linestyle=dash, linewidth=1.8, marker=marker, markersize=4)
        if name in bands:
            axes.fill_between(across, *bands[name], color=colour, alpha=0.18, linewidth=0)
    if log_y:
        axes.set_yscale("log")
    axes.set_title(title, fontsize=13)
    axes.set_xlabel(x, fontsize=11)
    axes.set_ylabel(y, fontsize=11)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(3, len(curves)), frameon=False, fontsize=10)
    picture = io.BytesIO()
    # The name and version of the library would be written otherwise.
    canvas.print_png(picture, metadata={"Software": None})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, picture.getvalue())
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}; free some disk or choose another folder"
        raise StorageError(msg) from error


def _check(curves: Mapping[str, Curve], bands: Mapping[str, Band], log_y: bool) -> None:
    if not curves:
        msg = "no curves to draw; name at least one"
        raise UsageError(msg)
    empty = [name for name, points in curves.items() if not points]
    if empty:
        msg = f"no points to draw of {', '.join(empty)}; leave curves without points out"
        raise UsageError(msg)
    for name, ends in bands.items():
        if name not in curves:
            msg = f"a band around {name}, which is no curve; those are {', '.join(curves)}"
            raise UsageError(msg)
        if any(len(end) != len(curves[name]) for end in ends):
            sizes = " and ".join(str(len(end)) for end in ends)
            msg = f"the band of {name} has {sizes} ends for {len(curves[name])} points; give one of each for a point"
            raise UsageError(msg)
    if log_y:
        for name, points in curves.items():
            lowest = min((value for _, value in points if not math.isnan(value)), default=math.inf)
            if lowest <= 0:
                msg = f"{name} has the value {lowest:g}, which a logarithmic axis cannot show; draw it without log_y"
                raise UsageError(msg)
