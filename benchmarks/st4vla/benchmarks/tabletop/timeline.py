"""An episode as a picture: what happened when, and how old everything was."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from st4vla.benchmarks.tabletop.episode import Episode
from st4vla.contracts.clock import NS_PER_MS, NS_PER_S

BLUE, ORANGE, GREEN, GREY = "#1f6fb4", "#d9701a", "#2c8a4b", "#888888"


def draw_timeline(path: Path, episode: Episode, title: str, window_s: tuple[float, float] = (5.0, 7.0)) -> None:
    """Draw frames, plans, chunks and executed actions of a window, and ages over the whole episode, as PNG.

    Args:
        path: Where to.
        episode: What happened.
        title: Written above.
        window_s: The part drawn event by event, in seconds from the first tick.
    """

    def seconds(time_ns: int) -> float:
        return (time_ns - episode.began_ns) / NS_PER_S

    figure, (events, ages) = plt.subplots(2, 1, figsize=(12, 7), height_ratios=(3, 2), layout="constrained")
    figure.suptitle(title)
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
    events.grid(axis="x", alpha=0.3)
    arrived = [seconds(arrival.arrived_ns) for arrival in episode.arrivals]
    chunk_ages_ms = [(each.arrived_ns - each.chunk.frame_capture_ns) / NS_PER_MS for each in episode.arrivals]
    ages.plot(arrived, chunk_ages_ms, color=BLUE, label="frame behind a chunk, at arrival")
    ages.plot(
        arrived,
        [a.chunk.plan_age_ns / NS_PER_MS for a in episode.arrivals],
        color=ORANGE,
        label="plan, against the frame",
    )
    ages.set_xlabel("seconds from the first tick")
    ages.set_ylabel("age, ms")
    ages.set_ylim(bottom=0)
    ages.grid(alpha=0.3)
    ages.legend(loc="upper right")
    figure.savefig(path, dpi=110)
    plt.close(figure)
