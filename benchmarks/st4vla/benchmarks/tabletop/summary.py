"""An episode in numbers."""

from __future__ import annotations

from typing import Any

from st4vla.benchmarks.tabletop.episode import Episode
from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.runtime.telemetry import percentiles


def summarise(episode: Episode, *, deadline_ms: float, warm_up_s: float = 1.0) -> dict[str, Any]:
    """Return the figures of an episode; only what arrived after the warm-up counts in rates, ages and lateness.

    Args:
        episode: What happened.
        deadline_ms: A chunk whose frame is older than this when it arrives is late.
        warm_up_s: How much of the beginning is left out.

    Returns:
        ``control_ticks``, ``ticks_held``, ``ticks_overrun``, ``system1_hz``, ``system2_hz``, ``frame_to_action_ms``
        and ``chunk_age_ms`` (p50, p95, p99, max), ``plan_age_ms`` (p50, p95), ``frames_sent``, ``frames_dropped``
        (refused by the full socket, or replaced by a newer one before System 1 saw them), ``chunks``,
        ``chunks_late``, ``errors``.
    """
    start_ns = episode.began_ns + round(warm_up_s * NS_PER_S)
    ticks = episode.ticks
    end_ns = ticks[-1].time_ns if ticks else start_ns
    span_s = max(end_ns - start_ns, 1) / NS_PER_S
    arrivals = [entry for entry in episode.arrivals if start_ns <= entry.arrived_ns <= end_ns]
    plans = [plan for plan, arrived_ns in episode.plans if start_ns <= arrived_ns <= end_ns]
    ages_ms = [(entry.arrived_ns - entry.chunk.frame_capture_ns) / NS_PER_MS for entry in arrivals]
    chunks = {entry.chunk.chunk_id: entry.chunk for entry in episode.arrivals}
    first_use: dict[int, int] = {}
    for tick in ticks:
        if tick.chunk_id is None or tick.action_index is None or tick.time_ns < start_ns:
            continue
        # A frozen action is one that was decided before the frame was seen.
        if tick.action_index >= chunks[tick.chunk_id].frozen_steps:
            first_use.setdefault(tick.chunk_id, tick.time_ns)
    to_action_ms = [(used_ns - chunks[chunk].frame_capture_ns) / NS_PER_MS for chunk, used_ns in first_use.items()]
    superseded = max((entry.chunk.frames_superseded for entry in episode.arrivals), default=0)
    return {
        "control_ticks": len(ticks),
        "ticks_held": sum(tick.chunk_id is None for tick in ticks if tick.time_ns >= start_ns),
        "ticks_overrun": episode.overruns,
        "system1_hz": round(len(arrivals) / span_s, 2),
        "system2_hz": round(len(plans) / span_s, 2),
        "frame_to_action_ms": percentiles(to_action_ms, (50, 95, 99, 100)),
        "chunk_age_ms": percentiles(ages_ms, (50, 95, 99, 100)),
        "plan_age_ms": percentiles([entry.chunk.plan_lead_ns / NS_PER_MS for entry in arrivals], (50, 95)),
        "frames_sent": sum(tick.sent for tick in ticks),
        "frames_dropped": sum(not tick.sent for tick in ticks) + superseded,
        "chunks": len(arrivals),
        "chunks_late": sum(age_ms > deadline_ms for age_ms in ages_ms),
        "errors": len(episode.errors),
    }
