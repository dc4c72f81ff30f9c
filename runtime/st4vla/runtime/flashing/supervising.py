"""The supervisor of a device: one process that owns the policy server, the state and every flash.

One thread decides, in `Supervisor.step`; whoever wants something from it leaves that in a queue. The state on the disk
is written before anything is done by it, so that a start after a power cut knows what was meant.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from st4vla.contracts.device_status import Outcome, ServerStatus, SlotName, Step, TrialStatus
from st4vla.contracts.errors import (
    CancelledError,
    DeviceBusyError,
    FileAlteredError,
    FileMissingError,
    FingerprintMismatchError,
    FlashError,
    ManifestError,
    St4vlaError,
)
from st4vla.runtime.flashing.changing import Changing
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.flash import Flash, Installs, cancelled, new_attempt
from st4vla.runtime.flashing.keeper import ASK_S, Failure, Keeper, Retiring, Start
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.leftovers import end_leftovers, note_servers
from st4vla.runtime.flashing.offers import Offers
from st4vla.runtime.flashing.recovering import recover
from st4vla.runtime.flashing.saved_state import SavedState
from st4vla.runtime.flashing.server_process import ServerProcess, serve_command
from st4vla.runtime.flashing.slots import inactive, other_slot
from st4vla.runtime.flashing.store import Store
from st4vla.runtime.flashing.transitions import has_served, switched
from st4vla.runtime.flashing.whole_slots import require_served, whole_record

LOG = logging.getLogger(__name__)
#: How often the supervisor looks up when nobody wakes it, and how often a server on trial is asked how it is.
TICK_S, TRIAL_ASK_S = 0.1, 0.25
#: How long whoever asks waits for the thread that decides, and that for a build that is to end.
ANSWER_S, BUILD_END_S = 30.0, 10.0
#: Errors with which a server does not start because the files of its slot are damaged.
DAMAGED = frozenset(error.__name__ for error in (FileAlteredError, FileMissingError, ManifestError))
T = TypeVar("T")


class Supervisor:
    """Serve a device's policy, and change it.

    `boot`, `step` and `shut_down` belong to one thread; the rest may be called by any other.

    Args:
        layout: The device's files.
        config: How it is set up.
        installer: Puts bundles into slots.
        offers: What was offered to it.
        start: Starts a server; None for `st4vla serve`.

    Attributes:
        wake: Makes the deciding thread look up.

    Raises:
        ManifestError: The device's state is damaged, which no power cut does.
    """

    def __init__(
        self, layout: Layout, config: DeviceConfig, installer: Installs, offers: Offers, start: Start | None = None
    ) -> None:
        self._layout, self._config, self._installer, self._offers = layout, config, installer, offers
        self._start_process = start or self._serve_slot
        self.wake = threading.Event()
        self._servers: list[ServerProcess] = []
        #: Slots whose engines were found damaged, until something else is installed there.
        self._damaged: set[SlotName] = set()
        self._saved = SavedState(layout.state)
        self._keeper = Keeper(self._start, config.trial.start_timeout_s)
        self._retiring = Retiring()
        self._changing = Changing(
            layout,
            config,
            self._saved,
            keeper=self._keeper,
            retiring=self._retiring,
            start=self._start,
            finished=self._clean_up,
        )
        self._requests: queue.SimpleQueue[tuple[Callable[[], object], Future[object]]] = queue.SimpleQueue()

    def boot(self) -> None:
        """Clean up behind whatever was before, and serve what the state says.

        Raises:
            StorageError: The disk does not take the state.
        """
        write = self._changing.write
        for pid in end_leftovers(self._layout.root):
            write("server_left", f"the server {pid} of an earlier supervisor was ended")
        state = self._saved.now
        write("started", "no policy was flashed yet" if state.active is None else f"slot {state.active} is to serve")
        self._changing.resume()
        for said in recover(self._layout):
            write("cleaned", said)
        active = self._saved.now.active
        if active is None:
            if self._saved.now.last is not None:
                self._keeper.give_up(self._saved.now.last.message)
            return
        if whole_record(self._layout, active) is None:
            self._fall_back(active, f"slot {active} is damaged: its manifest is missing or was altered")
        else:
            self._keeper.serve(active)

    def step(self) -> None:
        """Do what is due."""
        self._answer_requests()
        self._retiring.step()
        self._saved.step()
        self._take_installed()
        failure = self._keeper.step(ask_s=ASK_S if self._saved.now.trial is None else TRIAL_ASK_S)
        if failure is not None:
            self._server_failed(failure)
        self._changing.step()

    def shut_down(self) -> None:
        """End the server and a build. A trial goes on with the next start."""
        flash = self._changing.flash
        if flash is not None and self._saved.now.trial is None:
            flash.cancel()
            flash.join(BUILD_END_S)
            self._changing.fail(CancelledError("the supervisor was stopped before the switch; flash again"))
        self._changing.shut_down()
        self._retiring.add(self._keeper.release())
        self._retiring.finish()
        self._changing.write("stopped")

    def install(self, digest: str) -> Flash:
        """Begin to install a bundle that was offered, or join the flash that does so already.

        Raises:
            DeviceBusyError: Something else is being flashed.
            FlashError, SignatureError, DowngradeError, ManifestError: It is not to be had.
        """
        return self._ask(lambda: self._install(digest))

    def dry_run(self, digest: str) -> Outcome:
        """Say what installing a bundle that was offered would do.

        Raises:
            FlashError, SignatureError, DowngradeError, ManifestError: It is not to be had.
        """
        offer = self._offers.find(digest)
        flash = Flash(offer.manifest.name, digest, new_attempt("dry_run"))
        try:
            return flash.succeeded(self._installer.dry_run(offer, inactive(self._saved.now)))
        except St4vlaError as error:
            return flash.failed(error)

    def watch(self) -> Flash | Outcome | None:
        """Return the flash that runs, or else how the last one ended, if there was one."""
        return self._ask(lambda: self._changing.flash or self._saved.now.last)

    def cancel(self) -> Flash:
        """End the flash that runs, and return it.

        Raises:
            FlashError: There is none, or it has switched already.
        """
        return self._ask(self._cancel)

    def roll_back(self) -> Flash:
        """Go back to the other slot, by hand, and return what can be watched.

        Raises:
            DeviceBusyError: A flash has not come to its trial yet, or the addresses are just changing hands.
            FlashError: The other slot holds nothing that has served here.
        """
        return self._ask(self._roll_back_by_hand)

    def statuses(self) -> tuple[ServerStatus, Step | None, TrialStatus | None]:
        """Return how the server is, what a flash has come to, and how a trial goes."""
        return self._ask(
            lambda: (
                self._keeper.status(self._config.serve.bind),
                None if self._changing.flash is None else self._changing.flash.step,
                self._changing.trial_status(),
            )
        )

    @property
    def said(self) -> str:
        """How the device is, in a line for systemd."""
        status, flash = self._keeper.status(self._config.serve.bind), self._changing.flash
        causes = "".join(f"; {cause}" for cause in status.causes)
        doing = "" if flash is None else f"; flashing {flash.bundle_name}: {flash.step}"
        return f"{status.health} on {status.endpoint}, {status.clients} clients{causes}{doing}"

    def _ask(self, question: Callable[[], T]) -> T:
        answer: Future[T] = Future()
        self._requests.put((question, answer))  # type: ignore[arg-type]
        self.wake.set()
        try:
            return answer.result(ANSWER_S)
        except FutureTimeoutError:
            msg = f"the supervisor has not answered for {ANSWER_S:g} s; its log may say why"
            raise FlashError(msg) from None

    def _answer_requests(self) -> None:
        while not self._requests.empty():
            question, answer = self._requests.get()
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)

    def _install(self, digest: str) -> Flash:
        running, state = self._changing.flash, self._saved.now
        if running is not None:
            if running.bundle_digest == digest and not running.is_cancelled:
                return running
            msg = (
                f"{running.bundle_name!r} ({running.bundle_digest[:12]}) is being flashed; watch it, or cancel it first"
            )
            raise DeviceBusyError(msg)
        if self._changing.is_switching:
            msg = "the device is just going back to another slot; try again in a moment"
            raise DeviceBusyError(msg)
        offer = self._offers.find(digest)
        flash = Flash(offer.manifest.name, digest)
        active = None if state.active is None else whole_record(self._layout, state.active)
        if active is not None and active.bundle_digest == digest and self._keeper.is_serving:
            flash.finish(flash.succeeded(f"{flash.bundle_name!r} serves already, from slot {state.active}"))
            return flash
        self._changing.flash = flash
        slot, serving = inactive(state), self._keeper.is_serving
        self._changing.write("flash", f"into slot {slot}")
        flash.install(self._installer, offer, slot, serving=serving, notify=self.wake.set)
        return flash

    def _take_installed(self) -> None:
        """Go on with what was installed, or failed to be."""
        flash = self._changing.flash
        if flash is None or self._changing.is_switching or self._saved.now.trial is not None:
            return
        if flash.failure is not None:
            self._changing.fail(flash.failure)
        elif flash.installed is not None and flash.is_cancelled:
            self._changing.fail(cancelled())
        elif flash.installed is not None:
            self._damaged.discard(inactive(self._saved.now))
            self._changing.begin(inactive(self._saved.now))

    def _cancel(self) -> Flash:
        flash = self._changing.flash
        if flash is None:
            msg = "nothing is being flashed"
            raise FlashError(msg)
        if self._saved.now.trial is not None or self._changing.is_handing_over:
            msg = f"{flash.bundle_name!r} serves already; take it back with `st4vla device rollback`"
            raise FlashError(msg)
        flash.cancel()
        self._changing.cancel()
        return flash

    def _roll_back_by_hand(self) -> Flash:
        flash, state = self._changing.flash, self._saved.now
        if flash is not None and state.trial is not None and not self._changing.is_switching:
            self._changing.roll_back("somebody took it back by hand")
            return flash
        if flash is not None or self._changing.is_switching:
            name = "another change" if flash is None else repr(flash.bundle_name)
            msg = f"{name} is under way; cancel it first, or wait for its end"
            raise DeviceBusyError(msg)
        target = other_slot(state.active)
        record = require_served(self._layout, target, state)
        flash = self._changing.flash = Flash(record.bundle_name, record.bundle_digest, new_attempt("rollback"))
        self._changing.begin(target)
        return flash

    def _server_failed(self, failure: Failure) -> None:
        state = self._saved.now
        if state.trial is not None:
            self._changing.roll_back(f"its server ended: {failure.why}")
        elif state.active is not None and not failure.served and failure.error in DAMAGED:
            self._fall_back(state.active, failure.why)
        else:
            if failure.error == FingerprintMismatchError.__name__:
                # Not given up: a driver may be loaded later than this process.
                self._keeper.why_down = f"{failure.why}. If this machine was changed, flash the bundle again"
            self._changing.write("server_ended", f"{failure.why}; it is started again")

    def _fall_back(self, damaged: SlotName, why: str) -> None:
        """Serve the other slot when the files of the one that should serve are damaged; never for another reason."""
        target = other_slot(damaged)
        record = whole_record(self._layout, target)
        busy = self._changing.flash is not None
        self._damaged.add(damaged)
        if busy or record is None or target in self._damaged or not has_served(self._saved.now, record):
            text = f"{why}. There is no other policy that has served here: flash one"
            self._keeper.give_up(text)
            self._changing.write("damaged", text)
            return
        self._saved.insist(switched(self._saved.now, target))
        self._changing.write("fell_back", f"{why}. Slot {target} serves instead: {record.bundle_name!r}")
        self._keeper.serve(target)

    def _clean_up(self, outcome: Outcome) -> None:
        """Forget what was offered and is installed, and objects that nobody needs, in a thread of its own."""

        def work() -> None:
            try:
                if outcome.ok:
                    self._offers.drop(outcome.bundle_digest)
                Store(self._layout).collect(self._offers.objects)
            except (OSError, St4vlaError):
                # What is left costs space until the next flash, or the next start.
                LOG.exception("objects that nobody needs could not be removed")

        threading.Thread(target=work, name="st4vla_clean_up", daemon=True).start()

    def _start(self, slot: SlotName, behind: bool) -> ServerProcess:
        server = self._start_process(slot, behind)
        self._servers = [*(one for one in self._servers if not one.has_ended()), server]
        note_servers(self._layout.root, [one.pid for one in self._servers])
        return server

    def _serve_slot(self, slot: SlotName, behind: bool) -> ServerProcess:
        command = serve_command(self._layout, self._config, slot, behind=behind)
        return ServerProcess(slot, command, self._layout.root, self.wake.set)
