"""Find the firmware bridge's libraries: where the checkout builds them, or where the system's loader has them."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Any

from st4vla.contracts.errors import MissingExtraError

BUILT = Path(__file__).resolve().parents[3] / "build" / "firmware_bridge"


def candidates(name: str, version: int) -> tuple[str, ...]:
    """Return where a library may lie, the checkout's own first.

    Args:
        name: Without ``lib`` and ``.so``.
        version: Of its ABI, which its installed name ends with.
    """
    return str(BUILT / f"lib{name}.so"), f"lib{name}.so.{version}"


def load(name: str, version: int) -> Any:
    """Load a library.

    Raises:
        MissingExtraError: It is not there.
    """
    for candidate in candidates(name, version):
        with suppress(OSError):
            return ctypes.CDLL(candidate)
    msg = f"lib{name}.so was not found; build it with `make ctest`, or install it with `cmake --install build`"
    raise MissingExtraError(msg)
