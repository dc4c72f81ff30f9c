"""`st4vla replay RECORDING BUNDLE`: a recorded session once more, each chunk compared with the one that went out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.clock import NS_PER_S
from st4vla.contracts.command_line import Command, require_positive, table
from st4vla.contracts.manifests import Bundle, DeviceFingerprint
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.compiling import default_engines_folder, open_engines
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.catalogue import choose_backend
from st4vla.runtime.recording.needed import require_record_extra


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", type=Path, help="file that `st4vla serve --record` wrote")
    parser.add_argument("bundle", type=Path, help="folder of the bundle that was served")
    parser.add_argument(
        "--engines", type=Path, help="folder of its engines (default: where `st4vla compile` puts them)"
    )
    parser.add_argument("--backend", help="engine library (default: the best one that works here)")
    parser.add_argument("--keep-going", action="store_true", help="count differences (default: stop at the first one)")
    parser.add_argument(
        "--tolerance",
        type=float,
        help="largest difference of a normalised action that is none, for a recording of another device; other numbers "
        "may differ by this share of the largest of their kind (default: bit for bit)",
    )


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    require_record_extra()
    from st4vla.runtime.recording.reader import RecordingReader  # noqa: PLC0415
    from st4vla.runtime.replay import Replayer  # noqa: PLC0415

    require_positive(options, "tolerance")
    recording, bundle = RecordingReader(options.recording), Bundle(options.bundle)
    backend = choose_backend(options.backend)
    folder = options.engines or default_engines_folder(bundle)
    fingerprint = this_device().fingerprint(backend)
    engines = open_engines(folder, bundle, fingerprint)
    elsewhere = _elsewhere(recording.header.fingerprint, fingerprint)
    if elsewhere:
        print(f"recorded on another device: {elsewhere}")
    threads = {f"{name}_threads": count for name, count in recording.header.threads.items()}
    began = time.perf_counter()
    with BundlePolicy(bundle, engines, folder, backend, **threads) as policy:
        replayer = Replayer(recording, policy, tolerance=options.tolerance, keep_going=options.keep_going)
        report = replayer.run()
    took_s = time.perf_counter() - began
    to_the_end = options.keep_going or report.differences == 0
    end, session_s = report.end, (report.last_ns - report.first_ns) / NS_PER_S
    print(table(sorted(report.calls.items()), ("call", "replayed")))
    print(f"{report.chunks} chunks and {report.plans} plans compared, {session_s:.1f} s of a session in {took_s:.1f} s")
    if report.differences == 0:
        print("every one is the same" + ("" if options.tolerance is None else f" within {options.tolerance:g}"))
    for sentence in report.sentences:
        print(f"different: {sentence}")
    if report.differences and elsewhere and options.tolerance is None:
        print("engines of another device seldom agree to the bit; --tolerance allows for it")
    if to_the_end and end is None:
        print("the recording has no end: its recorder was killed")
    elif end is not None and end.cut:
        print(f"the recording was cut: {end.cut}")
    return {
        "ok": report.differences == 0,
        "calls": sum(report.calls.values()),
        "chunks": report.chunks,
        "chunks_unseen": report.chunks_unseen,
        "plans": report.plans,
        "failures": report.failures,
        "failures_again": report.failures_again,
        "differences": report.differences,
        "largest_difference": report.largest,
        "first_difference": report.sentences[0] if report.sentences else None,
        "whole": end is not None and not end.cut if to_the_end else None,
        "cut": end.cut if end is not None else None,
        "session_s": round(session_s, 3),
    }


def _elsewhere(then: DeviceFingerprint | None, now: DeviceFingerprint) -> str:
    return "" if then is None else "; ".join(now.differences(then))


COMMAND = Command("Replay a recorded session and compare every chunk.", _configure, _run)
