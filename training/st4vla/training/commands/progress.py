"""How far a training is, for people: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

from st4vla.contracts.errors import MissingExtraError

#: Steps between plain lines.
EVERY = 100


@contextmanager
def training_progress(total_steps: int, *, every: int = EVERY) -> Iterator[Callable[[int, float], None]]:
    """Yield a function of the step, counted from 0, and its loss, to be called after each step.

    A run that goes on begins where it left off. Everything goes to standard error.

    Args:
        total_steps: Of the whole run.
        every: Steps between plain lines where standard error is no terminal; the last step always has one.

    Raises:
        MissingExtraError: It is a terminal, and tqdm is not installed.
    """
    with _bar("training", "step", total_steps) as bar:

        def progress(step: int, loss: float) -> None:
            if bar is not None:
                bar(step + 1, f"loss {loss:.4f}")
            elif (step + 1) % every == 0 or step + 1 == total_steps:
                print(f"step {step + 1} of {total_steps}: loss {loss:.4f}", file=sys.stderr, flush=True)

        yield progress


@contextmanager
def counting_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of how many are done, and of how many; each count up to the total is a bar of its own.

    Args:
        what: What is counted, for example "boxes". Where standard error is no terminal, the end alone has a line.

    Raises:
        MissingExtraError: See `training_progress`.
    """
    tqdm = _tqdm() if sys.stderr.isatty() else None
    bar = None

    def progress(done: int, total: int) -> None:
        nonlocal bar
        if tqdm is None:
            if done == total:
                print(f"{done} {what}", file=sys.stderr, flush=True)
            return
        if bar is None:
            bar = tqdm.tqdm(total=total, desc=what, file=sys.stderr)
        bar.update(done - bar.n)
        if done == total:
            bar.close()
            bar = None

    try:
        yield progress
    finally:
        if bar is not None:
            bar.close()


@contextmanager
def _bar(what: str, unit: str, total: int) -> Iterator[Callable[[int, str], None] | None]:
    """Yield a function of how many are done and a note, or None where there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    tqdm = _tqdm()
    bar = None

    def show(done: int, note: str) -> None:
        nonlocal bar
        if bar is None:
            # What an earlier try did took none of this one's time.
            bar = tqdm.tqdm(total=total, initial=done - 1, desc=what, unit=unit, file=sys.stderr)
        bar.set_postfix_str(note, refresh=False)
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def _tqdm() -> ModuleType:
    try:
        import tqdm  # noqa: PLC0415 - a terminal alone needs it
    except ImportError as error:
        msg = f"a progress bar needs tqdm ({error}); pip install 'st4vla[train]'"
        raise MissingExtraError(msg) from error
    module: ModuleType = tqdm
    return module
