"""Drive the tabletop's arm from a device while it is flashed: what the arm notices of a build, and of a switch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from st4vla.benchmarks.flashing.counting_client import CountingClient
from st4vla.benchmarks.flashing.hosting import Flashing
from st4vla.benchmarks.flashing.powered_device import PoweredDevice
from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.episode import Arrival, Episode, run_episode
from st4vla.benchmarks.tabletop.world import Tabletop
from st4vla.contracts.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from st4vla.export.flashing.results import Result
from st4vla.runtime.flashing.record import Record, RecordLine
from st4vla.runtime.telemetry import percentiles

#: The arm is driven for so long before the first flash and after each.
QUIET_S = 4.0
WARM_UP_S = 1.0
LONGEST_S = 300.0
INSTRUCTION = "pick up the red cube"


@dataclass(frozen=True)
class Span:
    """A stretch of time on this machine's monotonic clock."""

    begin_ns: int
    end_ns: int

    def __contains__(self, time_ns: int) -> bool:
        return self.begin_ns <= time_ns < self.end_ns


class _Director:
    """Begins one flash after another while an episode runs, and ends the episode after the last."""

    def __init__(self, device: PoweredDevice, bundles: Sequence[Path], trust: Path) -> None:
        self._device, self._waiting, self._trust = device, list(bundles), trust
        self._quiet_since_ns = monotonic_ns()
        self._running: Flashing | None = None
        self.results: list[Result] = []

    def ended(self) -> bool:
        """Do what is due, and say whether all is over; asked at each tick of the episode."""
        if self._running is not None:
            if not self._running.ended:
                return False
            self.results.append(self._running.result())
            self.close()
            self._quiet_since_ns = monotonic_ns()
        if monotonic_ns() - self._quiet_since_ns < QUIET_S * NS_PER_S:
            return False
        if not self._waiting or (self.results and not self.results[-1].ok):
            return True
        self._running = Flashing(self._device, self._waiting.pop(0), self._trust)
        return False

    def close(self) -> None:
        """Wait for no flash any more."""
        running, self._running = self._running, None
        if running is not None:
            running.__exit__(None, None, None)


def drive_through_flashes(
    device: PoweredDevice, bundles: Sequence[Path], trust: Path, *, deadline_ms: float = 100.0, seed: int = 0
) -> dict[str, Any]:
    """Drive the arm from a device's policy, and flash other policies one after another meanwhile.

    Args:
        device: It serves a policy that fits the tabletop.
        bundles: Folders of signed bundles.
        trust: The host's trust list.
        deadline_ms: A chunk whose frame is older when it arrives is late.
        seed: Where the objects lie, and the noise.

    Returns:
        ``flashed`` (how each ended), chunks and how many were late (``undisturbed``; ``building``, from a flash's
        beginning to its switch; ``switching``, from there to a second after), ``late_share_of_builds``, the longest
        time without a chunk in each, ``connections`` of the client, ``refused`` observations.

    Raises:
        ServerUnreachableError: Nothing is served.
    """
    record = Record(device.layout.record)
    last = len(record.read(None))
    director = _Director(device, bundles, trust)
    with Tabletop(seed=seed) as world, Cameras(world) as cameras, CountingClient(device.endpoint) as client:
        ticks = round(LONGEST_S * NS_PER_S / world.control_period_ns)
        try:
            episode = run_episode(client, world, cameras, INSTRUCTION, ticks=ticks, seed=seed, stopped=director.ended)
        finally:
            director.close()
    spans = _spans(episode, record.read(None)[last:])
    figures = {name: _figures(episode, spans[name], deadline_ms) for name in spans}
    return {
        "flashed": [result.state for result in director.results],
        "messages": [result.message for result in director.results],
        "deadline_ms": deadline_ms,
        **figures,
        "connections": client.connections,
        "refused": len(episode.errors),
    }


def _spans(episode: Episode, lines: Sequence[RecordLine]) -> dict[str, list[Span]]:
    """Return when nothing was flashed, when something was built, and when the device switched."""
    begin_ns, end_ns = episode.began_ns + round(WARM_UP_S * NS_PER_S), episode.ticks[-1].time_ns
    attempts: dict[str, list[RecordLine]] = {}
    for line in lines:
        if line.attempt:
            attempts.setdefault(line.attempt, []).append(line)
    building, switching = [], []
    for told in attempts.values():
        switch_ns = next((line.monotonic_ns for line in told if line.step == "switch"), told[-1].monotonic_ns)
        building.append(Span(told[0].monotonic_ns, switch_ns))
        switching.append(Span(switch_ns, switch_ns + NS_PER_S))
    begins = [begin_ns, *(span.end_ns for span in switching)]
    ends = [*(span.begin_ns for span in building), end_ns]
    quiet = [Span(begin, end) for begin, end in zip(begins, ends, strict=True)]
    return {"undisturbed": quiet, "building": building, "switching": switching}


def _figures(episode: Episode, spans: Sequence[Span], deadline_ms: float) -> dict[str, Any]:
    ages: list[float] = []
    longest_ns, seconds = 0, 0.0
    for span in spans:
        arrivals = [entry for entry in episode.arrivals if entry.arrived_ns in span]
        ages += [_age_ms(entry) for entry in arrivals]
        times = [span.begin_ns, *(entry.arrived_ns for entry in arrivals), span.end_ns]
        longest_ns = max(longest_ns, int(np.diff(times).max()))
        seconds += (span.end_ns - span.begin_ns) / NS_PER_S
    return {
        "seconds": round(seconds, 2),
        "chunks": len(ages),
        "chunks_a_second": round(len(ages) / seconds, 2) if seconds else 0.0,
        "late": sum(age > deadline_ms for age in ages),
        "late_share": round(sum(age > deadline_ms for age in ages) / len(ages), 4) if ages else 0.0,
        "age_ms": percentiles(ages, (50, 95, 99, 100)),
        "longest_without_a_chunk_ms": round(longest_ns / NS_PER_MS, 1),
    }


def _age_ms(entry: Arrival) -> float:
    return (entry.arrived_ns - entry.chunk.frame_capture_ns) / NS_PER_MS
