"""What `st4vla device install`, `watch`, `cancel` and `rollback` have in common: they follow a flash to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from st4vla.contracts.flash_messages import Progress, Request
from st4vla.runtime.flashing.asking import ask
from st4vla.runtime.flashing.layout import Layout


def follow(layout: Layout, request: Request) -> Mapping[str, Any]:
    """Ask the supervisor, print what it says meanwhile, and return the outcome.

    Raises:
        FlashError: It refuses.
        TransportError: It does not run, or ended meanwhile.
    """
    outcome = ask(layout, request, _show)
    print(outcome.message)
    return msgspec.to_builtins(outcome)  # type: ignore[no-any-return]


def _show(progress: Progress) -> None:
    share = "" if progress.fraction is None else f" ({progress.fraction * 100:.0f} %)"
    print(f"{progress.step}{share}: {progress.text}", flush=True)
