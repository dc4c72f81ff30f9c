"""`st4vla COMMAND …`: look a command up by its entry point, run it, and end it in one way.

Commands are entry points of the group ``st4vla.commands``, so this module imports no room, and only the room whose
command was named is loaded. Every command ends with one JSON line on standard output; a refusal is one line on
standard error, the same in JSON, and exit status 1 (2 for a wrong command line).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from st4vla.contracts.errors import St4vlaError, UsageError

GROUP = "st4vla.commands"

#: Back to the beginning of a line on a terminal, which is then empty.
_CLEAR = "\r\033[K"


@dataclass(frozen=True)
class Command:
    """One subcommand of `st4vla`.

    Attributes:
        summary: One line for the list of commands.
        configure: Adds its arguments to a parser.
        run: Does the work and returns what the last JSON line holds; ``ok`` is added when absent.
        intermixed: Options may stand among arguments of which there may be many, such as hosts.
    """

    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Mapping[str, Any]]
    intermixed: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit status: 0, 1 for a refusal, 2 for wrong usage."""
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:
        # Whoever read our output has seen enough, such as `head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _main(argv: list[str]) -> int:
    available = {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}
    if not argv or argv[0] in {"-h", "--help"}:
        _print_overview(available)
        return 0 if argv else 2
    if argv[0] == "--version":
        _print(importlib.metadata.version("st4vla"))
        return 0
    name = argv[0]
    if name not in available:
        return _refuse(UsageError(f"unknown command {name!r}; known are {', '.join(sorted(available))}"), 2)
    command: Command = available[name].load()
    parser = argparse.ArgumentParser(prog=f"st4vla {name}", description=command.summary)
    command.configure(parser)
    parse = parser.parse_intermixed_args if command.intermixed else parser.parse_args
    return _run(command, parse(argv[1:]))


def _run(command: Command, options: argparse.Namespace) -> int:
    try:
        result = dict(command.run(options))
    except St4vlaError as error:
        return _refuse(error, 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        return _refuse(St4vlaError("interrupted"), 130)
    result.setdefault("ok", True)
    _print(msgspec.json.encode(result).decode())
    return 0 if result["ok"] else 1


def require_positive(options: argparse.Namespace, *names: str) -> None:
    """Refuse options that are not positive and finite; one that was not given (None) passes.

    Raises:
        UsageError: The message names each of them as it is written on the command line.
    """
    given = {name: getattr(options, name) for name in names}
    wrong = {name: value for name, value in given.items() if value is not None and not 0 < value < float("inf")}
    if wrong:
        shown = ", ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in wrong.items())
        msg = f"{shown}: must be positive and finite"
        raise UsageError(msg)


def require_seed(options: argparse.Namespace) -> None:
    """Refuse a ``--seed`` that the wire cannot carry, with room for the seeds that are counted on from it.

    Raises:
        UsageError: It is negative or too large.
    """
    if not 0 <= options.seed < 2**63:
        msg = f"--seed {options.seed}: must be at least 0 and below 2**63"
        raise UsageError(msg)


def show_progress(what: str, done: int, total: int) -> None:
    """Say on a terminal what is being done, over what was said so before; elsewhere say nothing."""
    if sys.stderr.isatty():
        print(f"{_CLEAR}{what}: {done} of {total}", end="", file=sys.stderr, flush=True)  # noqa: T201


def report_line(line: str) -> None:
    """Print a line, where a terminal shows progress in its place."""
    _print(f"{_CLEAR if sys.stderr.isatty() else ''}{line}")


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Return rows under a header as aligned columns, numbers to the right."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [all(isinstance(row[index], int | float) for row in rows) for index in range(len(header))]
    lines = [
        "  ".join(
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _print_overview(available: Mapping[str, importlib.metadata.EntryPoint]) -> None:
    _print("usage: st4vla COMMAND [OPTIONS]      st4vla COMMAND --help      st4vla --version\n")
    width = max(map(len, available), default=0)
    for name in sorted(available):
        _print(f"  {name:<{width}} {available[name].load().summary}")


def _refuse(error: St4vlaError, status: int) -> int:
    text = " ".join(str(error).split())
    print(f"st4vla: {text}", file=sys.stderr)  # noqa: T201
    _print(msgspec.json.encode({"ok": False, "error": type(error).__name__, "message": text}).decode())
    return status


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201
