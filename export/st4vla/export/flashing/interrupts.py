"""Ctrl-C: once to begin nothing new, twice to leave."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def interrupts(stop: Callable[[], None], leave: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first interrupt of the running loop and `leave` at each later one."""
    loop = asyncio.get_running_loop()
    came = 0

    def interrupt() -> None:
        nonlocal came
        came += 1
        (stop if came == 1 else leave)()

    for number in SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
