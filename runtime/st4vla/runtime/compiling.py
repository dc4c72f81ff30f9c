"""Compile a bundle into engines for the machine that this runs on."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from st4vla.contracts.errors import (
    EngineError,
    FileAlteredError,
    FileMissingError,
    FingerprintMismatchError,
    ManifestError,
)
from st4vla.contracts.files import file_entry, read_manifest, verify_files, write_manifest
from st4vla.contracts.folders import replaced_folder
from st4vla.contracts.manifests import (
    ENGINES_FORMAT,
    ENGINES_MANIFEST,
    GRAPH_NAMES,
    Bundle,
    DeviceFingerprint,
    EngineEntry,
    EnginesManifest,
    Parity,
    degradation,
    precision_of,
)
from st4vla.runtime.cpu_settings import find_cpu_settings
from st4vla.runtime.engines.backend import Backend, Progress, no_progress
from st4vla.runtime.engines.engine import Engine
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.golden import golden_part, load_golden, load_golden_chunk, measure_parity, require_parity
from st4vla.runtime.reusing import EarlierEngines

TIMED_RUNS = 5
REFUSED = "no engines were written"


def default_engines_folder(bundle: Bundle) -> Path:
    """Return where a bundle's engines are kept unless the user says otherwise."""
    return _cache() / "engines" / f"{bundle.manifest.name}-{bundle.digest[:16]}"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "st4vla"


def compile_bundle(
    bundle: Bundle,
    backend: Backend,
    fingerprint: DeviceFingerprint,
    target: Path,
    *,
    again: bool = False,
    reuse: EarlierEngines | None = None,
    report: Callable[[str], None] = lambda _: None,
    progress: Progress = no_progress,
) -> EnginesManifest:
    """Compile all graphs, hold them against the golden outputs, and put them in place at once.

    A build that fails or is killed leaves what was there before. Engines of this bundle that this device has compiled
    already are not compiled again.

    Args:
        bundle: A verified bundle.
        backend: The engine library.
        fingerprint: This device, as that back end sees it; on its cores, if it has any, settings are measured.
        target: Folder for the engines; it is replaced if it holds engines, refused if it holds anything else.
        again: Compile even so.
        reuse: Engines of another bundle, taken for the graphs that both have; they are checked like all others.
        report: Called with a line or two per graph.
        progress: Called while a graph is compiled.

    Raises:
        UsageError: `target` is somebody else's folder.
        EngineError: The back end refused a graph, or the bundle was quantised for another one.
        ParityError: An engine's outputs differ too much from the golden ones.
    """
    if not again:
        with suppress(ManifestError, FileMissingError, FileAlteredError, FingerprintMismatchError):
            return open_engines(target, bundle, fingerprint)
    _check_form(bundle, backend)
    warning = degradation(bundle.manifest)
    if warning is not None:
        report(warning)
    with replaced_folder(target, ENGINES_MANIFEST, "engines") as work:
        known, golden = load_golden_chunk(bundle)
        engines: dict[str, EngineEntry] = {}
        for name in GRAPH_NAMES:
            tensors, graph, compiled = bundle.tensors(name), bundle.manifest.graphs[name], work / f"{name}.engine"
            began = time.perf_counter()
            taken = reuse is not None and reuse.take(bundle.manifest, name, fingerprint, work)
            if not taken:
                cache = _cache() / "timing"
                backend.compile(bundle.path(graph.file), compiled, tensors, cache=cache, progress=progress)
            compile_s = time.perf_counter() - began
            # One at a time: not every device could hold two engines beside a compiler.
            with backend.load(compiled, tensors) as engine:
                parity, latency_ms = _measure(bundle, engine)
                known |= golden_part(bundle, engine, known)
            require_parity(bundle, name, parity, f"engine {name!r} of {backend.name}", REFUSED)
            precision = precision_of(bundle.manifest.quantization, name)
            engines[name] = EngineEntry(compiled.name, precision, compile_s, parity, latency_ms)
            how = "taken as it was" if taken else f"compiled in {compile_s:.2f} s"
            report(f"{name}: {how}, parity {parity.max_relative:.1e}, {latency_ms:.2f} ms")
        actions = measure_parity({"actions": golden}, known)
        require_parity(bundle, "actions", actions, f"the chunk of all engines of {backend.name}", REFUSED)
        report(f"actions: parity {actions.max_relative:.1e}")
        if fingerprint.cores:
            engines |= find_cpu_settings(bundle, backend, work, engines, fingerprint.cores, report=report)
        manifest = EnginesManifest(
            format_version=ENGINES_FORMAT,
            bundle_name=bundle.manifest.name,
            bundle_digest=bundle.digest,
            fingerprint=fingerprint,
            engines=engines,
            actions=actions,
            files={path.name: file_entry(path) for path in sorted(work.iterdir())},
        )
        write_manifest(work / ENGINES_MANIFEST, manifest)
    return manifest


def open_engines(folder: Path, bundle: Bundle, fingerprint: DeviceFingerprint) -> EnginesManifest:
    """Read the manifest of engines and refuse them unless they are this bundle's and this device's.

    Raises:
        ManifestError, FileMissingError, FileAlteredError: They are not there or not whole.
        FingerprintMismatchError: They are another device's, compiler's or bundle's; each difference is named.
    """
    remedy = f"run: st4vla compile {bundle.folder}"
    if folder != default_engines_folder(bundle):
        remedy += f" --out {folder}"
    if not (folder / ENGINES_MANIFEST).is_file():
        msg = f"no engines to serve in {folder}; {remedy}"
        raise ManifestError(msg)
    manifest = read_manifest(folder / ENGINES_MANIFEST, EnginesManifest, ENGINES_FORMAT)
    if manifest.bundle_digest != bundle.digest:
        msg = f"the engines in {folder} were compiled from another bundle ({manifest.bundle_name!r}); {remedy}"
        raise FingerprintMismatchError(msg)
    differences = fingerprint.differences(manifest.fingerprint)
    if differences:
        msg = f"the engines in {folder} were compiled elsewhere ({'; '.join(differences)}); {remedy}"
        raise FingerprintMismatchError(msg)
    verify_files(folder, manifest.files)
    return manifest


def _check_form(bundle: Bundle, backend: Backend) -> None:
    """Refuse graphs that only ONNX Runtime's operators can run."""
    quantization = bundle.manifest.quantization
    if quantization is not None and quantization.form == "cpu" and backend.name != OnnxRuntimeBackend.name:
        msg = (
            f"bundle {bundle.manifest.name!r} was quantised for ONNX Runtime on a CPU, which {backend.name} is not; "
            "compile with --backend onnxruntime, or quantise the checkpoint with --for tensorrt"
        )
        raise EngineError(msg)


def _measure(bundle: Bundle, engine: Engine) -> tuple[Parity, float]:
    """Return how an engine answers its golden inputs, and in how many milliseconds."""
    inputs, golden = load_golden(bundle, engine.name)
    answers = engine.run(inputs)
    times_ms = []
    for _ in range(TIMED_RUNS):
        start = time.perf_counter()
        engine.run(inputs)
        times_ms.append((time.perf_counter() - start) * 1e3)
    # Afterwards, because threads that numpy compares with may keep looking for work for a while.
    return measure_parity(golden, answers), statistics.median(times_ms)
