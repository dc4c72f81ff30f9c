"""`st4vla serve BUNDLE`: actions for whoever sends frames, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.clock import NS_PER_S
from st4vla.contracts.command_line import Command, require_positive
from st4vla.contracts.manifests import Bundle
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.compiling import default_engines_folder, open_engines
from st4vla.runtime.curve import ServerKeys
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.catalogue import choose_backend
from st4vla.runtime.safe_bind import require_safe_bind
from st4vla.runtime.server import Server


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument(
        "--engines", type=Path, help="folder of its engines (default: where `st4vla compile` puts them)"
    )
    parser.add_argument("--backend", help="engine library (default: the best one that works here)")
    parser.add_argument("--bind", default="tcp://127.0.0.1:5555", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FOLDER",
        help="encrypt, and let in only clients whose keys are in FOLDER/clients; see `st4vla keys` (default: everybody "
        "on this machine)",
    )
    parser.add_argument("--plan-hz", type=float, default=5.0, help="most plans a second (default: %(default)s)")
    for system, pace in (("system1", "fast"), ("system2", "slow")):
        parser.add_argument(
            f"--{system}-threads",
            type=int,
            help=f"CPU threads of the {pace} system (default: what `st4vla compile` found best)",
        )
    parser.add_argument("--max-clients", type=int, default=8, help="clients at once (default: %(default)s)")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    require_positive(options, "plan_hz", "max_clients", "system1_threads", "system2_threads")
    keys = None if options.keys is None else ServerKeys.load(options.keys)
    require_safe_bind(options.bind, keys)
    backend = choose_backend(options.backend)
    bundle = Bundle(options.bundle)
    folder = options.engines or default_engines_folder(bundle)
    engines = open_engines(folder, bundle, this_device().fingerprint(backend))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    threads = {"system1_threads": options.system1_threads, "system2_threads": options.system2_threads}
    with BundlePolicy(bundle, engines, folder, backend, **threads) as policy:
        policy.warm_up()
        period_ns = round(NS_PER_S / options.plan_hz)
        server = Server(policy, options.bind, plan_period_ns=period_ns, max_clients=options.max_clients, keys=keys)
        server.start()
        if keys is not None:
            print(f"clients that are let in: {', '.join(sorted(keys.clients.allowed.values())) or 'none yet'}")
        print(f"serving {bundle.manifest.name} on {server.endpoint}", flush=True)
        stop.wait()
        server.stop()
    return {"endpoint": server.endpoint, **server.counts}


COMMAND = Command("Serve a bundle's policy over ZeroMQ until SIGINT or SIGTERM.", _configure, _run)
