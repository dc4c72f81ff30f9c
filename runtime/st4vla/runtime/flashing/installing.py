"""Install an offered bundle into the slot that does not serve, step by step; nothing else is touched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from st4vla.contracts.device_status import SlotName
from st4vla.contracts.errors import ParityError
from st4vla.contracts.files import read_manifest, verify_files
from st4vla.contracts.flash_messages import Progress
from st4vla.contracts.manifests import ENGINES_FORMAT, ENGINES_MANIFEST, GRAPH_NAMES, EnginesManifest
from st4vla.runtime.engines.backend import Backend
from st4vla.runtime.engines.catalogue import choose_backend
from st4vla.runtime.flashing.arriving import disk_error
from st4vla.runtime.flashing.budgets import budget_error, over_budget, system_latencies_ms
from st4vla.runtime.flashing.build_job import BuildText
from st4vla.runtime.flashing.build_slot import SlotBuilder, memory_cap, reusable_graphs
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.locking import locked
from st4vla.runtime.flashing.machine import read_machine
from st4vla.runtime.flashing.offers import Offer, Offers
from st4vla.runtime.flashing.preflight import check_preflight, needs_of
from st4vla.runtime.flashing.record import Record, utc_now
from st4vla.runtime.flashing.sensors import available_memory
from st4vla.runtime.flashing.slots import clear_slot, engine_bytes, finish_slot, require_inactive, stage_slot
from st4vla.runtime.flashing.state import SLOT_FORMAT, SlotRecord
from st4vla.runtime.flashing.steps import OnStep, Steps, no_step
from st4vla.runtime.flashing.store import Store
from st4vla.runtime.flashing.verifying import verify_objects

_BUSY = "installs a bundle on this device"
#: Engines that were too slow are measured so often before they are refused.
MEASUREMENTS = 3


class Installer:
    """Installs bundles into slots.

    Args:
        layout: The device's files.
        config: How it is set up.
        record: Where steps are written down; how a flash ended is for the caller to write.
        on_step: Called when a step begins and when it has ended well, so that a test can end the process there.
    """

    def __init__(self, layout: Layout, config: DeviceConfig, record: Record, on_step: OnStep = no_step) -> None:
        self._layout, self._config, self._record, self._on_step = layout, config, record, on_step

    def install(
        self,
        offer: Offer,
        slot: SlotName,
        *,
        attempt: str,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        serving: bool,
    ) -> SlotRecord:
        """Take an offer from verify to latency; what is in the slot then is complete, and on disk.

        Args:
            offer: What to install; its objects are all there.
            slot: Where to; what was in it is gone from the step stage on, also when a later step fails.
            attempt: Name of the flash in the record.
            progress: Told how far it is.
            cancelled: Says whether it is still wanted.
            serving: A policy serves, so that engines are built behind it; otherwise as fast as can be.

        Raises:
            SignatureError, DowngradeError: The offer is not, or no longer, one that this device takes.
            FileMissingError, FileAlteredError, ManifestError: It is not whole.
            PreflightError: It is not for this device, or this is in no state to take it.
            EngineError, ParityError, BudgetError: Its engines cannot be built, or do not do what they should.
            StorageError: The disk does not take it.
            DeviceBusyError: Another one is installed.
            CancelledError: It is no longer wanted.
        """
        steps = Steps(offer, attempt, self._record, progress=progress, cancelled=cancelled, on_step=self._on_step)
        staged = False
        try:
            with locked(self._layout.installing, _BUSY):
                require_inactive(self._layout, slot)
                try:
                    backend = choose_backend(self._config.serve.backend)
                    with steps.step("verify", "signature, counter, every byte"):
                        offer = self._verify(offer, steps)
                    with steps.step("preflight", "machine, disk, memory, temperature"):
                        self._preflight(offer, slot, backend)
                    with steps.step("stage", f"slot {slot} is emptied and filled"):
                        staged = True
                        stage_slot(self._layout, slot, offer)
                        Store(self._layout).collect(Offers(self._layout).objects)
                    self._build(offer, slot, backend, steps, nice=self._config.build.nice if serving else None)
                    record = SlotRecord(
                        SLOT_FORMAT,
                        offer.manifest.name,
                        offer.digest,
                        offer.release.counter,
                        offer.key_id,
                        utc_now(),
                        attempt,
                        offer.release.note,
                    )
                    finish_slot(self._layout, slot, record)
                    return record
                except BaseException:
                    if staged:
                        # Whatever cannot be removed now is removed before the next flash.
                        with contextlib.suppress(OSError):
                            clear_slot(self._layout, slot)
                    raise
        except OSError as error:
            raise disk_error(error, self._layout.slot(slot).folder, f"{offer.manifest.name!r} is installed") from error

    def dry_run(self, offer: Offer, slot: SlotName) -> str:
        """Say what installing an offer would do, and change nothing; its objects need not be there.

        Raises:
            SignatureError, DowngradeError, ManifestError: It is not one that this device takes.
            PreflightError: It is not for this device, or this is in no state to take it.
            StorageError: The disk has no room for it.
        """
        offer = Offers(self._layout).find(offer.digest)
        missing = Store(self._layout, self._config.preflight.disk_reserve_bytes).missing(offer.manifest.files)
        backend = choose_backend(self._config.serve.backend)
        self._preflight(offer, slot, backend)
        kept = reusable_graphs(self._layout, slot, offer.manifest, backend, self._config)
        compiled = [name for name in GRAPH_NAMES if name not in kept]
        travel = sum(one.size - one.offset for one in missing)
        taken = f", taken as they are {', '.join(kept)}" if kept else ""
        return (
            f"would go into slot {slot}: {len(missing)} files ({travel} bytes) would travel, compiled would be "
            f"{', '.join(compiled) or 'nothing'}{taken}"
        )

    def _verify(self, offer: Offer, steps: Steps) -> Offer:
        def report(fraction: float) -> None:
            steps.require_wanted()
            steps.say(fraction=fraction)

        # Again, since a key may have been revoked since it was offered.
        found = Offers(self._layout).find(offer.digest)
        verify_objects(self._layout, found, report)
        return found

    def _preflight(self, offer: Offer, slot: SlotName, backend: Backend) -> None:
        machine = read_machine(self._config, self._layout, backend)
        # What lies in the slot goes first.
        freed = engine_bytes(self._layout, slot)
        check_preflight(
            msgspec.structs.replace(machine, disk_free_bytes=machine.disk_free_bytes + freed),
            offer.release,
            needs_of(offer.manifest),
            self._config.preflight,
            memory_available=available_memory(self._config.root),
            memory_cap=self._config.build.memory_bytes,
        )

    def _build(self, offer: Offer, slot: SlotName, backend: Backend, steps: Steps, *, nice: int | None) -> None:
        """Compile, check, load and measure."""

        def say(text: BuildText) -> None:
            steps.say(text.text)
            if not text.passing:
                steps.write("built", text.text)

        builder = SlotBuilder(self._layout, slot, self._config, backend, say=say, cancelled=steps.cancelled)
        refused: ParityError | None = None
        with steps.step("compile", f"for {backend.name}"):
            try:
                builder.run("compile", nice=nice)
            except ParityError as error:
                # It is the next step's to say.
                refused = error
        with steps.step("parity", "against the golden outputs"):
            if refused is not None:
                raise refused
            engines = self._engines(slot)
            steps.say(f"the chunk of all engines is within {engines.actions.max_relative:.1e}")
        with steps.step("warm_up", "all engines are loaded"):
            needed, cap = needs_of(offer.manifest).serve_bytes, memory_cap(self._config)
            builder.run("warm_up", nice=nice, one_by_one=cap is not None and needed > cap)
        with steps.step("latency", "against the budget of its release"):
            self._measure(offer, engines, builder, steps)

    def _engines(self, slot: SlotName) -> EnginesManifest:
        """Return what is known of a slot's engines, after reading every byte of them."""
        folder = self._layout.slot(slot).engines
        engines = read_manifest(folder / ENGINES_MANIFEST, EnginesManifest, ENGINES_FORMAT)
        verify_files(folder, engines.files)
        return engines

    def _measure(self, offer: Offer, engines: EnginesManifest, builder: SlotBuilder, steps: Steps) -> None:
        """Hold the engines to their budget.

        They were timed while they were built, behind a policy that serves. Where that was too slow, they are timed
        again, for moments, with the priority that they will serve with.

        Raises:
            BudgetError: They were too slow each time.
        """
        latency_ms = {name: entry.latency_ms for name, entry in engines.engines.items()}
        tries = [over_budget(offer.manifest, latency_ms, offer.release.budget)]
        while tries[-1] and len(tries) < MEASUREMENTS:
            steps.say(f"{'; '.join(tries[-1])}: measured again")
            latency_ms = builder.run("measure", nice=None).latency_ms
            tries.append(over_budget(offer.manifest, latency_ms, offer.release.budget))
        if tries[-1]:
            raise budget_error(offer.manifest, tries)
        system1_ms, system2_ms = system_latencies_ms(offer.manifest, latency_ms)
        steps.say(f"System 1 takes {system1_ms:.2f} ms, System 2 {system2_ms:.2f} ms")
