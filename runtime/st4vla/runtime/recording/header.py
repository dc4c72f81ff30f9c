"""What a recording says of itself: first, what was served and how; last, why it ended."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from st4vla.contracts.action import ActionSpec
from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.manifests import DeviceFingerprint, ViewSpec
from st4vla.runtime.policy import PolicyInfo
from st4vla.runtime.scheduler import SchedulingConfig

#: Names of the two metadata records.
HEADER_NAME, END_NAME = "st4vla.recording", "st4vla.end"
RECORDING_FORMAT = 1


class RecordingHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a recording says of itself, in the metadata record ``st4vla.recording`` at its beginning.

    Attributes:
        format_version: `RECORDING_FORMAT`.
        st4vla_version: What wrote it.
        bundle_name: What was served.
        bundle_digest: SHA-256 of its manifest, hexadecimal.
        views: The views that it takes.
        action: What its actions are.
        config: How it was scheduled.
        clock_monotonic_ns: A time on the server's monotonic clock, which the journal's times are on.
        clock_wall_ns: The same instant since 1970; their difference maps one to the other for the whole file.
        fingerprint: The device; None for a policy without engines.
        threads: CPU threads that were asked for, ``system1`` and ``system2``; one that is missing was left to what
            compiling had found.
        seeds: Where they are.
    """

    format_version: int
    st4vla_version: str
    bundle_name: str
    bundle_digest: str
    views: tuple[ViewSpec, ...]
    action: ActionSpec
    config: SchedulingConfig
    clock_monotonic_ns: int
    clock_wall_ns: int
    fingerprint: DeviceFingerprint | None = None
    threads: dict[str, int] = {}
    seeds: str = "one an observation: frame.seed of each submit in /journal"


class RecordingEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a recording that was ended says last; one whose recorder was killed says nothing.

    Attributes:
        calls: How many are in it.
        cut: Why what came after them is not in it; empty for a recording that is whole.
    """

    calls: int
    cut: str = ""


def header_for(
    info: PolicyInfo,
    config: SchedulingConfig,
    fingerprint: DeviceFingerprint | None = None,
    threads: Mapping[str, int | None] | None = None,
) -> RecordingHeader:
    """Return what a recording that begins now says of itself."""
    return RecordingHeader(
        format_version=RECORDING_FORMAT,
        st4vla_version=importlib.metadata.version("st4vla"),
        bundle_name=info.name,
        bundle_digest=info.digest.hex(),
        views=info.views,
        action=info.action,
        config=config,
        clock_monotonic_ns=monotonic_ns(),
        clock_wall_ns=time.time_ns(),
        fingerprint=fingerprint,
        threads={name: count for name, count in (threads or {}).items() if count is not None},
    )


def recording_path(where: Path, bundle_name: str) -> Path:
    """Return the file to record to: `where` if it is named like one, or one named by the time in that folder."""
    if where.suffix == ".mcap":
        return where
    return where / f"{bundle_name}-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() // 10**6 % 1000:03d}.mcap"


def to_metadata(struct: msgspec.Struct) -> dict[str, str]:
    """Return a struct as a metadata record: each field as JSON."""
    return {name: msgspec.json.encode(getattr(struct, name)).decode() for name in struct.__struct_fields__}
