"""What a device says of itself: to `st4vla devices`, to a flashing host, to its own record."""

from __future__ import annotations

from typing import Literal

import msgspec

SlotName = Literal["a", "b"]
SLOT_NAMES: tuple[SlotName, ...] = ("a", "b")

#: The steps of a flash in their order; a step's name stands in progress, in the record and in every refusal.
Step = Literal[
    "receive", "verify", "preflight", "stage", "compile", "parity", "warm_up", "latency", "switch", "trial", "commit"
]
STEPS: tuple[Step, ...] = (
    "receive",
    "verify",
    "preflight",
    "stage",
    "compile",
    "parity",
    "warm_up",
    "latency",
    "switch",
    "trial",
    "commit",
)


class SlotStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a slot holds: a complete, verified, compiled policy.

    Attributes:
        bundle_name: What it is called.
        bundle_digest: SHA-256 of its manifest, hexadecimal.
        counter: Of its release.
        key_id: Who signed it.
        installed_at: UTC, ISO 8601, by the device's clock.
        note: Of its release.
        revoked: Why its key is trusted no more, or None. It is served on, and never again installed.
    """

    bundle_name: str
    bundle_digest: str
    counter: int
    key_id: str
    installed_at: str
    note: str = ""
    revoked: str | None = None


class TrialStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy that serves and is not committed yet.

    Attributes:
        slot: Where it lies.
        previous: The slot that comes back when it fails; None on a device's first flash.
        elapsed_s: How long it has served.
        needed_s: How long it must.
        starts: How often its server was started.
    """

    slot: SlotName
    previous: SlotName | None
    elapsed_s: float
    needed_s: float
    starts: int


class ServerStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The policy server, as the supervisor sees it.

    Attributes:
        endpoint: Where it listens.
        health: ``starting``, ``ready``, ``degraded``, ``stopping`` or ``down``.
        causes: Why it is not ready, in sentences.
        uptime_s: Since it began to serve.
        restarts: How often it ended without being asked to since the device booted or the slot was switched to.
        system1_hz: Chunks a second.
        system2_hz: Plans a second.
        frame_age_ms: Age of frames when their chunks were handed out, 99th percentile.
        clients: How many it has.
    """

    endpoint: str
    health: str
    causes: tuple[str, ...] = ()
    uptime_s: float = 0.0
    restarts: int = 0
    system1_hz: float = 0.0
    system2_hz: float = 0.0
    frame_age_ms: float | None = None
    clients: int = 0


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a flash ended.

    Attributes:
        ok: The new policy is committed (or, of a dry run, would be taken).
        attempt: Name of this flash in the record.
        bundle_name: What was flashed.
        bundle_digest: SHA-256 of its manifest.
        step: The last step that was begun.
        message: One sentence: what was done, or what is wrong and what to do.
        error: Name of the exception's class, or empty.
        rolled_back: The new policy served and was taken back.
        ended_at: UTC, ISO 8601, by the device's clock.
    """

    ok: bool
    attempt: str
    bundle_name: str
    bundle_digest: str
    step: Step
    message: str
    error: str = ""
    rolled_back: bool = False
    ended_at: str = ""


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What kind of machine a device is, and how it is now; None where it cannot be read.

    Attributes:
        machine: Instruction set.
        model: Of the board, or of the processor.
        jetpack: L4T release, or empty.
        power_mode: nvpmodel's mode, or empty.
        backend: Engine library that it serves with, and its version.
        memory_bytes: Physical memory.
        disk_free_bytes: Where its slots lie.
        temperature_c: Of the hottest thermal zone.
        supply_v: Of the board's supply.
        battery_percent: Of the battery, where there is one.
    """

    machine: str
    model: str
    jetpack: str
    power_mode: str
    backend: str
    memory_bytes: int
    disk_free_bytes: int
    temperature_c: float | None = None
    supply_v: float | None = None
    battery_percent: float | None = None

    @property
    def kind(self) -> tuple[str, ...]:
        """What devices have in common that a bundle either runs or does not run on."""
        return self.machine, self.model, self.jetpack, self.power_mode, self.backend


class DeviceStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device at one moment.

    Attributes:
        version: Of its `st4vla`.
        machine: What it is.
        slots: What lies in each; None is empty or unfinished.
        active: The slot that serves or will serve after a boot; None before the first flash.
        active_since: UTC, ISO 8601: when that slot was switched to.
        trial: Set while a new policy is on trial.
        server: The policy server; None when the supervisor does not run.
        flashing: The step that a flash has come to, or None.
        last: How the last flash ended.
        trust_version: Of its list of trusted keys; 0 is without one.
    """

    version: str
    machine: Machine
    slots: dict[SlotName, SlotStatus | None]
    active: SlotName | None = None
    active_since: str = ""
    trial: TrialStatus | None = None
    server: ServerStatus | None = None
    flashing: Step | None = None
    last: Outcome | None = None
    trust_version: int = 0
