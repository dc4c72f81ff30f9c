"""An episode as a picture: what happened when, and how old everything was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

from matplotlib import pyplot as plt

from st4vla.benchmarks.tabletop.episode import Episode
from st4vla.contracts.clock import NS_PER_MS, NS_PER_S

FILM_PICTURES = 8
BLUE, ORANGE, GREEN, GREY = "#1f6fb4", "#d9701a", "#2c8a4b", "#888888"


def draw_timeline(path: Path, episode: Episode, title: str, window_s: tuple[float, float] = (5.0, 7.0)) -> None:
    """Draw what the cameras saw, the events of a window, and ages over the whole episode, as PNG.

    The events are frames, plans, chunks and executed actions.

    Args:
        path: Where to.
        episode: What happened.
        title: Written above.
        window_s: The part drawn event by event, in seconds from the first tick.
    """

    def seconds(time_ns: int) -> float:
        return (time_ns - episode.began_ns) / NS_PER_S

    figure, (seen, events, ages) = plt.subplots(3, 1, figsize=(12, 9.5), height_ratios=(3, 3, 2), layout="constrained")
    figure.suptitle(title)
    _draw_film(seen, episode, seconds)
    first_tick: dict[int, int] = {}
    for tick in episode.ticks:
        events.plot(seconds(tick.frame_capture_ns), 3, "|", color=GREY, markersize=14)
        held = tick.chunk_id is None
        events.plot(seconds(tick.time_ns), 0, "x" if held else "o", color=ORANGE if held else GREEN, markersize=5)
        if tick.chunk_id is not None:
            first_tick.setdefault(tick.chunk_id, tick.time_ns)
    for plan, arrived_ns in episode.plans:
        start, end = seconds(plan.frame_capture_ns), seconds(arrived_ns)
        events.plot([start, end], [2, 2], color=ORANGE, linewidth=6, solid_capstyle="butt", alpha=0.7)
    for arrival in episode.arrivals:
        start, end = seconds(arrival.chunk.frame_capture_ns), seconds(arrival.arrived_ns)
        events.plot([start, end], [1, 1], color=BLUE, linewidth=6, solid_capstyle="butt", alpha=0.7)
        if arrival.chunk.chunk_id in first_tick:
            events.plot([end, seconds(first_tick[arrival.chunk.chunk_id])], [1, 0], color=GREY, linewidth=0.8)
    events.set_yticks([3, 2, 1, 0], ["frames", "plans\n(System 2)", "chunks\n(System 1)", "executed\nactions"])
    events.set_ylim(-0.6, 3.6)
    events.set_xlim(*window_s)
    events.set_title("a bar begins when its frame was taken and ends when its result arrived", fontsize=9)
    events.set_xlabel("seconds from the first tick")
    events.grid(axis="x", alpha=0.3)
    arrived = [seconds(arrival.arrived_ns) for arrival in episode.arrivals]
    chunk_ages_ms = [(each.arrived_ns - each.chunk.frame_capture_ns) / NS_PER_MS for each in episode.arrivals]
    ages.plot(arrived, chunk_ages_ms, color=BLUE, label="frame behind a chunk, at arrival")
    ages.plot(
        arrived,
        [a.chunk.plan_lead_ns / NS_PER_MS for a in episode.arrivals],
        color=ORANGE,
        label="plan, against the frame",
    )
    ages.set_xlabel("seconds from the first tick")
    ages.set_ylabel("age, ms")
    ages.set_ylim(bottom=0)
    ages.grid(alpha=0.3)
    ages.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9, borderaxespad=0.2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_film(axes: Any, episode: Episode, seconds: Callable[[int], float]) -> None:
    """Draw what each camera saw at some instants, one row a camera."""
    axes.set_axis_off()
    if not episode.frames:
        return
    names = sorted(episode.frames[0])
    chosen = np.linspace(0, len(episode.frames) - 1, min(FILM_PICTURES, len(episode.frames))).astype(int)
    rows = [np.concatenate([episode.frames[index][name] for index in chosen], axis=1) for name in names]
    axes.imshow(np.concatenate(rows))
    width = rows[0].shape[1] / len(chosen)
    for column, index in enumerate(chosen):
        text = f"{seconds(episode.ticks[index].frame_capture_ns):.1f} s"
        axes.text((column + 0.5) * width, -6, text, ha="center", va="bottom", fontsize=9)
    for row, name in enumerate(names):
        axes.text(-6, (row + 0.5) * rows[0].shape[0], name, ha="right", va="center", rotation=90, fontsize=9)
