"""What a server's own client came to, for a supervisor that does not load what that client needs."""

from __future__ import annotations

import msgspec


class ProbeReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a probe came to.

    Attributes:
        text: What is wrong, or empty.
        chunks: How many came, all of them finite.
        system1_ms: How long System 1 took for the fastest of them.
        system2_ms: How long System 2 took for its fastest plan; None when none was told of.
    """

    text: str = ""
    chunks: int = 0
    system1_ms: float | None = None
    system2_ms: float | None = None
