"""What figures depend on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path


def machine() -> dict[str, object]:
    """Return what the figures depend on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "platform": platform.platform(),
        "torch": importlib.metadata.version("torch"),
        "load_average_before": os.getloadavg()[0],
    }


def _processor() -> str:
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    kinds = [
        kind
        for kind in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
        if kind in facts.get("flags", "").split()
    ]
    family = f"family {facts.get('cpu family', '?')} model {facts.get('model', '?')}"
    return f"{facts.get('model name', platform.machine())} ({family}; {', '.join(kinds) or 'no AVX2'})"
