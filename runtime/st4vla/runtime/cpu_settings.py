"""How an engine on the CPU uses its cores: a share for each system, and what a short measurement found best within it.

Both systems run at the same time, so neither may take the cores that the other was measured with. System 1, whose
graphs run one after the other, has all cores but one; System 2 has what the hungrier graph of System 1 left; each has
at least one. Spinning is tried only with two threads or more, each of which then has a core of the share to spin on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from st4vla.contracts.manifests import Bundle, CpuSettings, EngineEntry
from st4vla.contracts.tensor_spec import GraphTensors
from st4vla.runtime.engines.backend import Backend
from st4vla.runtime.engines.engine import Array, Engine
from st4vla.runtime.golden import load_golden

SYSTEM1_GRAPHS = ("bridge", "sampler")
#: How long the measurement of one graph may take, unless a round of single runs takes longer.
BUDGET_S = 2.0
#: How often each candidate's turn comes, and how often a fast graph is run in a turn.
ROUNDS, MAX_RUNS = 4, 25
#: Relative differences that mean nothing.
NOISE = 0.03


def find_cpu_settings(
    bundle: Bundle,
    backend: Backend,
    folder: Path,
    engines: Mapping[str, EngineEntry],
    cores: int,
    *,
    report: Callable[[str], None],
) -> dict[str, EngineEntry]:
    """Return the entries of all engines with the best settings, and with the latency that was measured with them.

    Args:
        bundle: Whose golden inputs they are run on.
        backend: The engine library.
        folder: Where the engines lie.
        engines: What is known of them so far: the latency is that of one thread.
        cores: How many cores the two systems share.
        report: Called with one line per graph.

    Raises:
        EngineError: An engine cannot be loaded or run.
    """
    found: dict[str, EngineEntry] = {}
    taken = 1
    for name in (*SYSTEM1_GRAPHS, "planner"):
        entry = engines[name]
        share = max(1, cores - (1 if name in SYSTEM1_GRAPHS else taken))
        candidates = candidate_settings(share)
        times_ms = {CpuSettings(threads=1): entry.latency_ms}
        if len(candidates) > 1:
            load = partial(_load, backend, folder / entry.file, bundle.tensors(name))
            times_ms = measure_settings(load, load_golden(bundle, name)[0], candidates)
        best = best_settings(times_ms)
        found[name] = msgspec.structs.replace(entry, cpu=best, latency_ms=times_ms[best])
        if name in SYSTEM1_GRAPHS:
            taken = max(taken, best.threads)
        tried = f", best of {len(times_ms)} settings" * (len(times_ms) > 1)
        report(f"{name}: {best}, {times_ms[best]:.2f} ms{tried}; its share is {share} core{'s' * (share > 1)}")
    return found


def candidate_settings(share: int) -> list[CpuSettings]:
    """Return the settings worth trying on a share of so many cores: powers of two of threads, and all cores."""
    several = sorted({*(2**exponent for exponent in range(1, share.bit_length())), share} - {1})
    return [CpuSettings(threads=1), *(CpuSettings(count, spinning) for count in several for spinning in (False, True))]


def measure_settings(
    load: Callable[[CpuSettings], Engine],
    inputs: Mapping[str, Array],
    candidates: Sequence[CpuSettings],
    *,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[CpuSettings, float]:
    """Return the median milliseconds that a run takes with each of the settings.

    Candidates take turns, so that whatever else the machine does meets all of them alike. One engine is loaded at a
    time, because not every device could hold two. A graph that is too slow for the budget still has one turn of one run
    with each.

    Args:
        load: Loads the engine with settings.
        inputs: What it is run on.
        candidates: The settings to compare; at least one.
        budget_s: After so many seconds no other round begins.
        clock: Returns seconds.

    Raises:
        EngineError: It cannot be loaded or run.
    """
    times_ms: dict[CpuSettings, list[float]] = {cpu: [] for cpu in candidates}
    turn_s = budget_s / ROUNDS / len(candidates)
    deadline = clock() + budget_s
    for _ in range(ROUNDS):
        for cpu in candidates:
            with load(cpu) as engine:
                engine.warm_up(inputs, runs=1)
                now = clock()
                turn_ends = now + turn_s
                for _ in range(MAX_RUNS):
                    began = now
                    engine.run(inputs)
                    now = clock()
                    times_ms[cpu].append((now - began) * 1e3)
                    if now >= turn_ends:
                        break
        if clock() >= deadline:
            break
    return {cpu: statistics.median(times) for cpu, times in times_ms.items()}


def best_settings(times_ms: Mapping[CpuSettings, float]) -> CpuSettings:
    """Return the fastest settings; among those as fast within `NOISE`, the fewest threads, then without spinning."""
    limit = min(times_ms.values()) * (1 + NOISE)
    fast = [cpu for cpu, time_ms in times_ms.items() if time_ms <= limit]
    return min(fast, key=lambda cpu: (cpu.threads, cpu.spinning))


def _load(backend: Backend, path: Path, tensors: GraphTensors, cpu: CpuSettings) -> Engine:
    return backend.load(path, tensors, cpu=cpu)
