"""`st4vla device VERB`: the device's side of flashing. Only the module of the verb that was named is loaded."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command
from st4vla.runtime.flashing.layout import default_root
from st4vla.runtime.flashing.owner import become_owner

#: Verb to its summary; what it does is in the module of that name in `device_verbs`.
VERBS = {
    "init": "make the device's folder, and put its first list of trusted keys there",
    "run": "supervise the device: serve its policy, and change it when it is flashed",
    "agent": "answer a flashing host on standard input and output; SSH starts it",
    "status": "show how the device is",
    "install": "flash a signed bundle from a folder of this machine, such as a stick",
    "watch": "show how the flash goes that runs, or how the last one ended",
    "cancel": "end the flash that runs, unless it has switched already",
    "rollback": "go back to the other slot, or end a trial",
    "verify": "check every byte of both slots",
    "log": "show what happened to this device and why",
    "trust": "take a newer list of trusted keys",
}


class _VerbParser(argparse.ArgumentParser):
    """A verb's parser, which asks the verb's module for arguments when it is its turn."""

    _configured = False

    # Called by argparse for the verb that was named, and for no other.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        if not self._configured:
            self._configured = True
            self.add_argument(
                "--root", type=Path, default=default_root(), help="the device's folder (default: %(default)s)"
            )
            _module(self.prog.rpartition(" ")[2]).configure(self)
        return super().parse_known_args(args, namespace)


def _configure(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=_VerbParser)
    for name, summary in VERBS.items():
        verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    become_owner(options.root)
    result: Mapping[str, Any] = _module(options.verb).run(options)
    return result


def _module(verb: str) -> Any:
    return importlib.import_module(f"st4vla.runtime.commands.device_verbs.{verb}")


COMMAND = Command("The device's side of flashing: slots, trial and roll-back.", _configure, _run)
