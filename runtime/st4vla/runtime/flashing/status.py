"""How a device is, in one answer."""

from __future__ import annotations

import contextlib
import importlib.metadata

from st4vla.contracts.device_status import (
    SLOT_NAMES,
    DeviceStatus,
    Machine,
    ServerStatus,
    SlotName,
    SlotStatus,
    Step,
    TrialStatus,
)
from st4vla.contracts.errors import ManifestError, St4vlaError
from st4vla.contracts.release import TrustList
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.slots import read_slot
from st4vla.runtime.flashing.state import DeviceState, read_state


def device_status(
    layout: Layout,
    config: DeviceConfig,
    *,
    server: ServerStatus | None = None,
    flashing: Step | None = None,
    trial: TrialStatus | None = None,
    machine: Machine | None = None,
) -> DeviceStatus:
    """Return how a device is.

    Args:
        layout: Its files.
        config: How it is set up.
        server: How its server is; None when no supervisor runs.
        flashing: What a flash has come to.
        trial: How a trial goes; None reads from the state whether there is one.
        machine: What it is and how warm, if that was read just now.

    Raises:
        ManifestError: Its state is damaged.
    """
    if machine is None:
        # It knows the engine libraries, and takes its time to load.
        from st4vla.runtime.flashing.machine import read_machine  # noqa: PLC0415

        machine = read_machine(config, layout)
    state = read_state(layout.state)
    trust = _trust(layout)
    return DeviceStatus(
        version=importlib.metadata.version("st4vla"),
        machine=machine,
        slots={name: _slot(layout, name, trust) for name in SLOT_NAMES},
        active=state.active,
        active_since=state.active_since,
        trial=trial or _trial(state, config),
        server=server,
        flashing=flashing,
        last=state.last,
        trust_version=0 if trust is None else trust.version,
    )


def _slot(layout: Layout, name: SlotName, trust: TrustList | None) -> SlotStatus | None:
    try:
        record = read_slot(layout, name)
    except ManifestError:
        # Damaged: it holds nothing that could be served.
        return None
    if record is None:
        return None
    revoked = None if trust is None else trust.revoked.get(record.key_id)
    return SlotStatus(
        bundle_name=record.bundle_name,
        bundle_digest=record.bundle_digest,
        counter=record.counter,
        key_id=record.key_id,
        installed_at=record.installed_at,
        note=record.note,
        revoked=None if revoked is None else revoked.why,
    )


def _trial(state: DeviceState, config: DeviceConfig) -> TrialStatus | None:
    """Return what the state says of a trial: how often it was begun, not how long it has gone on."""
    trial = state.trial
    if trial is None:
        return None
    return TrialStatus(trial.slot, trial.previous, 0.0, config.trial.seconds, trial.starts)


def _trust(layout: Layout) -> TrustList | None:
    from st4vla.runtime.signing.trust import read_trust  # noqa: PLC0415 - it loads what knows keys

    with contextlib.suppress(St4vlaError):
        return read_trust(layout.trust)
    return None
