"""`st4vla bench-flash VERB`: driving through flashes, many devices at once, rsync, and power cuts, measured."""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from st4vla.benchmarks.machine import machine
from st4vla.contracts.command_line import Command, report_line, require_positive, table
from st4vla.contracts.errors import MissingExtraError
from st4vla.contracts.files import write_atomically


def _configure(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, summary in (
        ("drive", "drive the tabletop's arm from a device while other policies are flashed"),
        ("fleet", "flash many devices, of which a tenth cannot take the bundle, and compare with rsync"),
        ("transfer", "send a large bundle to one device, in turns with rsync of the same files"),
        ("cuts", "cut a device's power at any instant of a flash"),
    ):
        verb = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        verb.add_argument("--bundle", type=Path, default=Path("bundles/tiny"), help="its folder (default: %(default)s)")
        verb.add_argument("--out", type=Path, default=Path("out/bench_flash"), help="for the receipt")
        if name == "drive":
            verb.add_argument("--flashes", type=int, default=5, help="how many (default: %(default)s)")
        if name == "fleet":
            verb.add_argument("--devices", type=int, default=50, help="how many (default: %(default)s)")
        if name == "transfer":
            verb.add_argument("--megabytes", type=int, default=300, help="of weights (default: %(default)s)")
            verb.add_argument("--rounds", type=int, default=5, help="how often (default: %(default)s)")
        if name == "cuts":
            verb.add_argument("--cuts", type=int, default=500, help="at random instants (default: %(default)s)")
            verb.add_argument("--changes", action="store_true", help="before every change to a file, too")
            verb.add_argument("--parallel", type=int, default=3, help="devices at once (default: %(default)s)")
            verb.add_argument("--seed", type=int, default=0, help="of the instants (default: %(default)s)")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    require_positive(options, *({"flashes", "devices", "megabytes", "rounds", "cuts", "parallel"} & set(vars(options))))
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="st4vla-") as folder:
        figures, missed = _VERBS[options.verb](options, Path(folder))
    receipt = {
        "what": f"bench-flash {options.verb}",
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "bundle": str(options.bundle),
        "figures": figures,
        "missed": missed,
    }
    path = options.out / f"{options.verb}.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    print(table([(name, str(value)) for name, value in figures.items()], ("figure", "value")))
    for line in missed:
        print(f"missed: {line}")
    print(f"\n{path}\n")
    return figures | {"missed": missed, "ok": not missed}


def _drive(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        from st4vla.benchmarks.flashing import driving_bench  # noqa: PLC0415 - the simulator is an extra
    except ImportError as error:
        msg = f"the tabletop needs {error.name}; install it with: pip install 'st4vla[sim,bench]'"
        raise MissingExtraError(msg) from error
    return driving_bench.run(folder, options.bundle, options.flashes)


def _fleet(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[str]]:
    from st4vla.benchmarks.flashing import fleet_bench  # noqa: PLC0415 - each verb loads its own

    return fleet_bench.run(folder, options.bundle, options.devices)


def _transfer(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[str]]:
    from st4vla.benchmarks.flashing import transfer_bench  # noqa: PLC0415 - each verb loads its own

    return transfer_bench.run(folder, options.bundle, options.megabytes, options.rounds)


def _cuts(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[str]]:
    from st4vla.benchmarks.flashing import cuts_bench  # noqa: PLC0415 - each verb loads its own

    done = itertools.count(1)
    return cuts_bench.run(
        folder,
        options.bundle,
        cuts=options.cuts,
        changes=options.changes,
        parallel=options.parallel,
        seed=options.seed,
        report=lambda cut: report_line(
            f"{next(done)}: {cut.at}, in step {cut.step or 'none'}, back in {cut.back_s:.1f} s"
        ),
    )


_VERBS: Mapping[str, Callable[[argparse.Namespace, Path], tuple[dict[str, Any], list[str]]]] = {
    "drive": _drive,
    "fleet": _fleet,
    "transfer": _transfer,
    "cuts": _cuts,
}

COMMAND = Command("Flashing under load, in numbers, and under power cuts.", _configure, _run)
