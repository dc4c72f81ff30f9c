"""Whether a bundle is for this device, and whether the device is in a state to take one; before anything is touched."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from st4vla.contracts.device_status import Machine
from st4vla.contracts.errors import PreflightError
from st4vla.contracts.manifests import BundleManifest
from st4vla.contracts.release import Release, Requirements
from st4vla.runtime.flashing.config import PreflightConfig

#: While a graph is compiled its weights are there as read, as converted, and as part of the finished engine. Measured
#: with TensorRT-RTX on a machine of CPUs only, not on a Jetson (docs/results/export_memory.md).
BUILD_COPIES = 3.1
#: Engines are at most so much larger than the graphs that they are made from.
ENGINE_COPIES = 1.1
#: Of a process with an engine library, before it has read a graph: assumed.
PROCESS_BYTES = 256 << 20
_MIB = 1 << 20


@dataclass(frozen=True)
class Needs:
    """What an installation takes of a device.

    Attributes:
        disk_bytes: For engines; the bundle's files are there already.
        build_bytes: Of memory, while the largest graph is compiled: modelled.
        serve_bytes: Of memory, with all engines loaded: modelled.
    """

    disk_bytes: int
    build_bytes: int
    serve_bytes: int


def needs_of(manifest: BundleManifest) -> Needs:
    """Return what a bundle takes, reckoned from the sizes of its graphs with their weights."""
    weights = [graph_bytes(manifest, name) for name in manifest.graphs]
    engines = math.ceil(ENGINE_COPIES * sum(weights))
    return Needs(engines, PROCESS_BYTES + math.ceil(BUILD_COPIES * max(weights)), PROCESS_BYTES + engines)


def graph_bytes(manifest: BundleManifest, name: str) -> int:
    """Return the size of a graph's file and of those beside it that hold its weights."""
    file = manifest.graphs[name].file
    return sum(entry.size for other, entry in manifest.files.items() if other == file or other.startswith(f"{file}."))


def check_preflight(
    machine: Machine,
    release: Release,
    needs: Needs,
    limits: PreflightConfig,
    *,
    memory_available: int | None,
    memory_cap: int | None,
) -> None:
    """Refuse a bundle that is not for a machine, or a machine that is in no state to take it.

    Args:
        machine: The machine, as it is now.
        release: What the bundle's signer asks for.
        needs: What its installation takes.
        limits: What the device asks for.
        memory_available: Bytes that can still be had; None where that is unknown.
        memory_cap: Most bytes that a build may have, or None.

    Raises:
        PreflightError: All that is wrong: for each the value found, the value wanted, and what to do.
    """
    wrong = [
        *_requirements(machine, release.requires),
        *_state(machine, limits),
        *_room(machine, needs, limits, memory_available, memory_cap),
    ]
    if wrong:
        msg = f"{release.bundle_name!r} is not installed: {'; '.join(wrong)}"
        raise PreflightError(msg)


def _requirements(machine: Machine, wanted: Requirements) -> Iterator[str]:
    if wanted.machines and machine.machine not in wanted.machines:
        yield f"it is for {_either(wanted.machines)}, and this machine is {machine.machine}: flash a bundle for that"
    if wanted.jetpacks and not any(_begins(machine.jetpack, one) for one in wanted.jetpacks):
        found = f"L4T {machine.jetpack}" if machine.jetpack else "no L4T (/etc/nv_tegra_release)"
        yield f"it is for L4T {_either(wanted.jetpacks)}, and this machine has {found}: update JetPack first"
    backend = machine.backend.partition(" ")[0]
    if wanted.backends and backend not in wanted.backends:
        found = machine.backend or "no engine library that works"
        yield (
            f"it is for engines of {_either(wanted.backends)}, and this device serves with {found}: "
            "set serve.backend in device.json, or see `st4vla doctor`"
        )
    if wanted.power_modes and machine.power_mode not in wanted.power_modes:
        found = machine.power_mode or "none (/var/lib/nvpmodel/status)"
        yield (
            f"it is for the power mode {_either(wanted.power_modes)}, and this machine is in {found}: "
            "change it with `nvpmodel -m`"
        )
    if machine.memory_bytes < wanted.memory_bytes:
        yield (
            f"it is for machines with {_mib(wanted.memory_bytes)} of memory, and this one has "
            f"{_mib(machine.memory_bytes)}: flash a smaller bundle"
        )


def _state(machine: Machine, limits: PreflightConfig) -> Iterator[str]:
    if machine.temperature_c is not None and machine.temperature_c > limits.max_temperature_c:
        yield (
            f"the hottest thermal zone is at {machine.temperature_c:.1f} °C, allowed are "
            f"{limits.max_temperature_c:g}: let it cool down, look at its fan"
        )
    if limits.min_supply_v is not None and machine.supply_v is not None and machine.supply_v < limits.min_supply_v:
        yield (f"the supply gives {machine.supply_v:.2f} V, wanted are {limits.min_supply_v:g}: look at its cable")
    if machine.battery_percent is not None and machine.battery_percent < limits.min_battery_percent:
        yield (f"the battery is at {machine.battery_percent:g} %, wanted are {limits.min_battery_percent:g}: charge it")


def _room(
    machine: Machine, needs: Needs, limits: PreflightConfig, available: int | None, cap: int | None
) -> Iterator[str]:
    lacking = needs.disk_bytes + limits.disk_reserve_bytes - machine.disk_free_bytes
    if lacking > 0:
        yield (
            f"the disk has {_mib(lacking)} too few: engines take about {_mib(needs.disk_bytes)}, "
            f"{_mib(limits.disk_reserve_bytes)} must stay free, {_mib(machine.disk_free_bytes)} are: free some space"
        )
    if available is not None and needs.build_bytes + limits.memory_reserve_bytes > available:
        yield (
            f"compiling takes about {_mib(needs.build_bytes)} of memory, {_mib(limits.memory_reserve_bytes)} must stay "
            f"free, and {_mib(available)} are: end other programs, or flash a smaller bundle"
        )
    if cap is not None and needs.build_bytes > cap:
        yield (
            f"compiling takes about {_mib(needs.build_bytes)} of memory, and build.memory_bytes in device.json allows "
            f"{_mib(cap)}: raise that, or flash a smaller bundle"
        )


def _begins(found: str, wanted: str) -> bool:
    """Say whether ``36.4.3`` is one of ``36.4``, which ``36.40`` is not."""
    return found.split(".")[: len(wanted.split("."))] == wanted.split(".")


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)


def _mib(size: int) -> str:
    return f"{math.ceil(size / _MIB)} MiB"
