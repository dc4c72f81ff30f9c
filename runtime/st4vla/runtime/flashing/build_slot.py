"""Engines of a slot: compiled, loaded and measured by processes of their own."""

from __future__ import annotations

from collections.abc import Callable

from st4vla.contracts.device_status import SlotName
from st4vla.contracts.manifests import GRAPH_NAMES, BundleManifest
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.backend import Backend
from st4vla.runtime.flashing.build_job import Action, BuildJob, BuildText, Built
from st4vla.runtime.flashing.building import run_build
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.durable import make_folder
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.sensors import available_memory
from st4vla.runtime.flashing.slots import other_slot
from st4vla.runtime.reusing import EarlierEngines


def memory_cap(config: DeviceConfig) -> int | None:
    """Return most memory that a build may have; None where nobody can tell.

    So that the policy that serves keeps what it has, that is less than what is available by the preflight's reserve.
    """
    available = available_memory(config.root)
    spare = None if available is None else max(0, available - config.preflight.memory_reserve_bytes)
    given = config.build.memory_bytes
    return min((size for size in (spare, given) if size is not None), default=None)


class SlotBuilder:
    """Builds the engines of one slot.

    Args:
        layout: The device's files.
        slot: The slot, in which a bundle lies.
        config: Caps and time-out.
        backend: The engine library.
        say: Told how far it is.
        cancelled: Says whether it is still wanted.
    """

    def __init__(
        self,
        layout: Layout,
        slot: SlotName,
        config: DeviceConfig,
        backend: Backend,
        *,
        say: Callable[[BuildText], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._layout, self._config, self._backend = layout, config, backend
        self._slot, self._other = layout.slot(slot), layout.slot(other_slot(slot))
        self._say, self._cancelled = say, cancelled

    def run(self, action: Action, *, nice: int | None, one_by_one: bool = False) -> Built:
        """Do one thing with the engines; see `run_build` for what it raises."""
        make_folder(self._layout.cache)
        return run_build(
            BuildJob(
                action=action,
                bundle=str(self._slot.bundle),
                engines=str(self._slot.engines),
                backend=self._backend.name,
                system_root=self._config.system_root,
                nice=nice,
                memory_bytes=memory_cap(self._config),
                one_by_one=one_by_one,
                reuse_bundle=str(self._other.bundle),
                reuse_engines=str(self._other.engines),
            ),
            cache=self._layout.cache,
            timeout_s=self._config.build.timeout_s,
            say=self._say,
            cancelled=self._cancelled,
        )


def reusable_graphs(
    layout: Layout, slot: SlotName, bundle: BundleManifest, backend: Backend, config: DeviceConfig
) -> list[str]:
    """Return the graphs of a bundle whose engines lie in the other slot, so that they need not be compiled."""
    other = layout.slot(other_slot(slot))
    earlier = EarlierEngines.read(other.bundle, other.engines)
    fingerprint = this_device(config.root).fingerprint(backend)
    return [name for name in GRAPH_NAMES if earlier is not None and earlier.fit(bundle, name, fingerprint)]
