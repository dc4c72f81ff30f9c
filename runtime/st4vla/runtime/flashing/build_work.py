"""What the process that builds does: compile, load, or measure."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from st4vla.contracts.manifests import Bundle, EnginesManifest
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.compiling import compile_bundle, open_engines
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.backend import Backend
from st4vla.runtime.engines.catalogue import choose_backend
from st4vla.runtime.flashing.build_job import BuildAnswer, BuildJob, BuildText, Built
from st4vla.runtime.golden import load_golden
from st4vla.runtime.reusing import EarlierEngines

#: How often each engine is run to measure it.
MEASURED_RUNS = 9
#: Lines that pass are said so often at most.
PASSING_S = 0.25

Say = Callable[[BuildAnswer], None]


def do_job(job: BuildJob, say: Say) -> Built:
    """Do a job, and say how far it is.

    Raises:
        St4vlaError: It cannot be done.
    """
    bundle, folder, backend = Bundle(Path(job.bundle)), Path(job.engines), choose_backend(job.backend)
    fingerprint = this_device(Path(job.system_root)).fingerprint(backend)
    if job.action == "compile":
        earlier = EarlierEngines.read(Path(job.reuse_bundle), Path(job.reuse_engines))
        compile_bundle(
            bundle,
            backend,
            fingerprint,
            folder,
            again=True,
            reuse=earlier,
            report=lambda line: say(BuildText(line)),
            progress=_Passing(say),
        )
        return Built()
    engines = open_engines(folder, bundle, fingerprint)
    if job.action == "measure":
        return Built(_run_each(bundle, engines, folder, backend, MEASURED_RUNS))
    if job.one_by_one:
        _run_each(bundle, engines, folder, backend, 1)
    else:
        with BundlePolicy(bundle, engines, folder, backend) as policy:
            policy.warm_up()
            policy.require_parity()
    return Built()


def _run_each(bundle: Bundle, engines: EnginesManifest, folder: Path, backend: Backend, runs: int) -> dict[str, float]:
    """Return how many milliseconds a run of each engine takes, at the median; one is loaded at a time."""
    latency_ms: dict[str, float] = {}
    for name, entry in engines.engines.items():
        inputs, times_ms = load_golden(bundle, name)[0], []
        with backend.load(folder / entry.file, bundle.tensors(name), cpu=entry.cpu) as engine:
            engine.warm_up(inputs)
            for _ in range(runs):
                began = time.perf_counter()
                engine.run(inputs)
                times_ms.append((time.perf_counter() - began) * 1e3)
        latency_ms[name] = statistics.median(times_ms)
    return latency_ms


class _Passing:
    """A back end's progress, said now and then."""

    def __init__(self, say: Say) -> None:
        self._say, self._said_s = say, float("-inf")

    def __call__(self, phase: str, done: int, total: int) -> None:
        if time.monotonic() - self._said_s >= PASSING_S:
            self._said_s = time.monotonic()
            self._say(BuildText(f"{phase}: {done} of {total}", passing=True))
