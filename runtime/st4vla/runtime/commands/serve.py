"""`st4vla serve BUNDLE`: actions for whoever sends frames, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from st4vla.contracts.action import ActionSpec
from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.contracts.command_line import Command, require_positive
from st4vla.contracts.errors import UsageError
from st4vla.contracts.manifests import Bundle, EnginesManifest
from st4vla.contracts.staleness import AgeBounds, Staleness
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.change import ChangeConfig
from st4vla.runtime.chunking import ChunkingConfig
from st4vla.runtime.compiling import default_engines_folder, open_engines
from st4vla.runtime.curve import ServerKeys
from st4vla.runtime.device import this_device
from st4vla.runtime.doors.options import HELP as DOOR_HELP
from st4vla.runtime.doors.options import parse_door
from st4vla.runtime.engines.catalogue import choose_backend
from st4vla.runtime.flashing.lowering import end_with
from st4vla.runtime.giving_way import GivingWay
from st4vla.runtime.memory import keep_freed_memory
from st4vla.runtime.monitoring import Monitor
from st4vla.runtime.observer import Observer
from st4vla.runtime.orders import Orders
from st4vla.runtime.policy import PolicyInfo
from st4vla.runtime.recording.needed import require_record_extra
from st4vla.runtime.safe_bind import require_safe_bind
from st4vla.runtime.scheduler import SchedulingConfig
from st4vla.runtime.server import SWITCH_INTERVAL_S
from st4vla.runtime.serving import Serving, Standby

if TYPE_CHECKING:
    from st4vla.runtime.recording.recording import Recording

CHUNKING: dict[str, Literal["real_time", "ensemble", "replace"]] = {
    "real-time": "real_time",
    "ensemble": "ensemble",
    "replace": "replace",
}
#: Defaults: a plan that is this old is not acted by, and one that is older still stops the arm.
PLAN_HOLD_NS, PLAN_STOP_NS = 5 * NS_PER_S, 10 * NS_PER_S
#: An arm that has held for so long stops.
STOP_AFTER_HOLD_NS = NS_PER_S


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument(
        "--engines", type=Path, help="folder of its engines (default: where `st4vla compile` puts them)"
    )
    parser.add_argument("--backend", help="engine library (default: the best one that works here)")
    parser.add_argument(
        "--system-root",
        type=Path,
        default=Path("/"),
        metavar="FOLDER",
        help="where the files begin that say what this machine is (default: %(default)s)",
    )
    parser.add_argument("--bind", default="tcp://127.0.0.1:5555", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FOLDER",
        help="encrypt, and let in only clients whose keys are in FOLDER/clients; see `st4vla keys` (default: everybody "
        "on this machine)",
    )
    parser.add_argument(
        "--local",
        type=Path,
        metavar="PATH",
        help="make a socket there for controllers on this machine, which share their pictures in memory: "
        "st4vla-bridge ... --endpoint local:PATH (default: none)",
    )
    parser.add_argument("--door", action="append", default=[], metavar="KIND=ADDRESS[,KEY=VALUE...]", help=DOOR_HELP)
    for system, pace in (("system1", "fast"), ("system2", "slow")):
        parser.add_argument(
            f"--{system}-threads",
            type=int,
            help=f"CPU threads of the {pace} system (default: what `st4vla compile` found best)",
        )
    parser.add_argument("--max-clients", type=int, default=8, help="clients at once (default: %(default)s)")
    parser.add_argument(
        "--metrics",
        metavar="HOST:PORT",
        help="serve /live, /ready, /metrics and /snapshot there over HTTP, such as 127.0.0.1:9464 (default: off)",
    )
    parser.add_argument(
        "--standby",
        nargs="?",
        choices=("alone", "behind"),
        const="alone",
        help="for `st4vla device run`: load, check, and wait for its words on standard input before listening; behind "
        "comes after another server until then",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="WHERE",
        help="record the session to this .mcap file, or to a new one in this folder",
    )
    parser.add_argument(
        "--record-limit-gb", type=float, help="recording ends at this size (default: when the disk is full)"
    )
    scheduling = parser.add_argument_group("scheduling")
    scheduling.add_argument("--plan-hz", type=float, default=5.0, help="most plans a second (default: %(default)s)")
    scheduling.add_argument(
        "--no-replan-on-change", action="store_true", help="plan again on period only, not when the scene changes"
    )
    scheduling.add_argument(
        "--synchronous",
        action="store_true",
        help="plan on every frame and act on that same frame, as the reference does: a baseline, slow by design",
    )
    scheduling.add_argument(
        "--chunking",
        choices=tuple(CHUNKING),
        default="real-time",
        help="how a chunk follows the one before: real-time holds to what will have been executed, ensemble averages, "
        "replace begins afresh (default: %(default)s)",
    )
    ages = "slow down, hold and stop from these ages on; 0: never"
    scheduling.add_argument(
        "--frame-age-ms",
        type=float,
        nargs=3,
        metavar=("SLOW", "HOLD", "STOP"),
        help=f"{ages} (default: never slow, hold when the chunk's time is over, stop a second later)",
    )
    scheduling.add_argument(
        "--plan-age-ms",
        type=float,
        nargs=3,
        metavar=("SLOW", "HOLD", "STOP"),
        help=f"the same for the age of the plan's frame (default: 0 {PLAN_HOLD_NS // NS_PER_MS} "
        f"{PLAN_STOP_NS // NS_PER_MS})",
    )


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    way = GivingWay()
    if options.standby:
        end_with(os.getppid())
        if options.standby == "behind":
            way.begin()
    require_positive(options, "plan_hz", "max_clients", "system1_threads", "system2_threads", "record_limit_gb")
    for text in options.door:
        parse_door(text)
    keys = None if options.keys is None else ServerKeys.load(options.keys)
    require_safe_bind(options.bind, keys)
    bundle = Bundle(options.bundle)
    config = _scheduling(options, bundle.manifest.action)
    backend = choose_backend(options.backend)
    folder = options.engines or default_engines_folder(bundle)
    engines = open_engines(folder, bundle, this_device(options.system_root).fingerprint(backend))
    orders = Orders("stand_by" if options.standby else "serve")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: orders.give("end"))
    keep_freed_memory()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    threads = {"system1_threads": options.system1_threads, "system2_threads": options.system2_threads}
    serving = Serving(
        bundle,
        config,
        options.bind,
        keys,
        options.local,
        options.door,
        record=lambda info: _recording(options, info, config, engines),
    )
    load = partial(BundlePolicy, bundle, engines, folder, backend, **threads)
    monitor = partial(_monitor, address=options.metrics)
    if options.standby:
        if options.metrics is not None:
            # A wrong address, or a missing package, must show before anything is handed over, and costs no time then.
            Monitor(Observer(bundle.manifest.name, bundle.digest), options.metrics)
        with load() as policy:
            return Standby(serving, policy, orders, monitor).run(way.end)
    observer = Observer(bundle.manifest.name, bundle.digest)
    with monitor(observer), load() as policy:
        policy.warm_up()
        return serving.serve(policy, orders, observer, say=partial(print, flush=True))


def _monitor(observer: Observer, address: str | None) -> AbstractContextManager[Monitor | None]:
    if address is None:
        return nullcontext()
    monitor = Monitor(observer, address)
    monitor.start()
    print(f"metrics on {monitor.url}", flush=True)
    return closing(monitor)


def _recording(
    options: argparse.Namespace, info: PolicyInfo, config: SchedulingConfig, engines: EnginesManifest
) -> AbstractContextManager[Recording | None]:
    if options.record is None:
        return nullcontext()
    require_record_extra()
    from st4vla.runtime.recording.header import header_for, recording_path  # noqa: PLC0415
    from st4vla.runtime.recording.recording import Recording  # noqa: PLC0415

    threads = {"system1": options.system1_threads, "system2": options.system2_threads}
    header = header_for(info, config, engines.fingerprint, threads)
    limit_bytes = round((options.record_limit_gb or 0) * 1e9)
    return Recording(recording_path(options.record, info.name), header, limit_bytes=limit_bytes)


def _scheduling(options: argparse.Namespace, action: ActionSpec) -> SchedulingConfig:
    span_ns = action.horizon * action.period_ns
    frame = AgeBounds(0, span_ns, span_ns + STOP_AFTER_HOLD_NS)
    plan = AgeBounds(0, PLAN_HOLD_NS, PLAN_STOP_NS)
    return SchedulingConfig(
        plan_period_ns=round(NS_PER_S / options.plan_hz),
        synchronous=options.synchronous,
        max_clients=options.max_clients,
        chunking=ChunkingConfig(mode=CHUNKING[options.chunking]),
        change=ChangeConfig(enabled=not options.no_replan_on_change),
        staleness=Staleness(
            _bounds("--frame-age-ms", options.frame_age_ms) or frame,
            _bounds("--plan-age-ms", options.plan_age_ms) or plan,
        ),
    )


def _bounds(flag: str, ages_ms: list[float] | None) -> AgeBounds | None:
    if ages_ms is None:
        return None
    try:
        return AgeBounds(*(round(age_ms * NS_PER_MS) for age_ms in ages_ms))
    except ValueError as error:
        msg = f"{flag}: {error}"
        raise UsageError(msg) from error


COMMAND = Command("Serve a bundle's policy over ZeroMQ until SIGINT or SIGTERM.", _configure, _run)
