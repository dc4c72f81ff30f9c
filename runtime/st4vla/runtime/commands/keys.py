"""`st4vla keys`: keys for connections and for signatures, whom a server lets in, and whose signatures devices trust."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from st4vla.contracts.command_line import Command
from st4vla.runtime.commands import keys_curve, keys_show, keys_signing, keys_trust

if TYPE_CHECKING:
    #: Where verbs are added. Each sets `run_verb`, which gets the options.
    Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]


def _configure(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True)
    for group in (keys_curve, keys_show, keys_signing, keys_trust):
        group.configure(verbs)


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = options.run_verb(options)
    return answer


COMMAND = Command("Make keys, show them, and say whom a server lets in and whose signatures count.", _configure, _run)
