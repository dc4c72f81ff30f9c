"""A supervisor at work in a thread, with servers and an installer that act by what a test says."""

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from st4vla.contracts.device_status import Outcome, SlotName
from st4vla.contracts.errors import FlashError
from st4vla.contracts.files import write_manifest
from st4vla.contracts.flash_messages import Progress
from st4vla.runtime.flashing.config import DeviceConfig, TrialConfig
from st4vla.runtime.flashing.flash import Flash
from st4vla.runtime.flashing.flash import cancelled as cancelled_flash
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.leftovers import note_servers
from st4vla.runtime.flashing.record import Record, RecordLine
from st4vla.runtime.flashing.server_process import ServerProcess
from st4vla.runtime.flashing.state import (
    SLOT_FORMAT,
    Committed,
    DeviceState,
    SlotRecord,
    read_state,
    write_state,
)
from st4vla.runtime.flashing.supervising import Supervisor

ACTING = Path(__file__).with_name("acting_server.py")
WAIT_S = 20.0


def fill_slot(layout: Layout, slot: SlotName, name: str, counter: int = 1) -> SlotRecord:
    """Make a slot that is whole as far as a supervisor looks."""
    files = layout.slot(slot)
    files.bundle.mkdir(parents=True, exist_ok=True)
    files.engines.mkdir(exist_ok=True)
    manifest = json.dumps({"name": name, "counter": counter}).encode()
    (files.bundle / "bundle.json").write_bytes(manifest)
    digest = hashlib.sha256(manifest).hexdigest()
    record = SlotRecord(SLOT_FORMAT, name, digest, counter, "k" * 64, "2026-01-01T00:00:00Z", "flash-1")
    write_manifest(files.record, record)
    return record


class ActingInstaller:
    """Fill a slot in an instant, or wait, or refuse."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.refuses: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.serving: list[bool] = []

    def install(
        self,
        offer: Any,
        slot: SlotName,
        *,
        attempt: str,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
        serving: bool,
    ) -> SlotRecord:
        del attempt
        self.serving.append(serving)
        progress(Progress("compile", "engines", 0.5))
        while not self.go_on.wait(0.01):
            if cancelled():
                raise cancelled_flash()
        if self.refuses is not None:
            raise self.refuses
        return fill_slot(self.layout, slot, offer.manifest.name, offer.release.counter)

    def dry_run(self, offer: Any, slot: SlotName) -> str:
        if self.refuses is not None:
            raise self.refuses
        return f"{offer.manifest.name} would go into slot {slot}"


class ActingOffers:
    """Offers whose digest is ``NAME:COUNTER``, or that of what is in a slot already."""

    def __init__(self) -> None:
        self.dropped: list[str] = []

    def find(self, digest: str) -> Any:
        name, _, counter = digest.partition(":")
        if not counter:
            msg = f"no bundle {digest} was offered"
            raise FlashError(msg)
        return SimpleNamespace(
            digest=digest, manifest=SimpleNamespace(name=name), release=SimpleNamespace(counter=int(counter))
        )

    def drop(self, digest: str) -> None:
        self.dropped.append(digest)

    def objects(self) -> set[str]:
        return set()


class Rig:
    """A device's folder, and a supervisor that runs in a thread once `boot` was called."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        root.mkdir()
        self.config = DeviceConfig(trial=TrialConfig(seconds=0.6, start_timeout_s=10.0))
        self.installer, self.offers = ActingInstaller(self.layout), ActingOffers()
        self.supervisor: Supervisor | None = None
        self.failed: BaseException | None = None
        self.behind: list[bool] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        for slot in ("a", "b"):
            self.act(slot)

    def serves(self, slot: SlotName = "a", name: str = "old", counter: int = 1) -> None:
        """Let a committed policy be there before the supervisor is."""
        record = fill_slot(self.layout, slot, name, counter)
        known = {name: Committed(counter, record.bundle_digest)}
        state = DeviceState(active=slot, active_since="2026-01-01T00:00:00Z", committed=known)
        write_state(self.layout.state, state)

    def act(self, slot: str, **acts: Any) -> None:
        """Say how the servers of a slot behave from now on."""
        path = self.behaviour(slot)
        path.with_suffix(".new").write_text(json.dumps(acts))
        path.with_suffix(".new").replace(path)

    def behaviour(self, slot: str) -> Path:
        return self.layout.root / f"behaviour-{slot}.json"

    def starts(self, slot: str) -> int:
        """Return how often a server of a slot was started."""
        path = self.behaviour(slot).with_suffix(".log")
        return len(path.read_text().splitlines()) if path.exists() else 0

    def boot(self) -> Supervisor:
        self.supervisor = Supervisor(self.layout, self.config, self.installer, self.offers, self._start)  # type: ignore[arg-type]
        self._stop.clear()
        booted = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self.supervisor, booted))
        self._thread.start()
        assert booted.wait(WAIT_S)
        return self.supervisor

    def stop(self) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join(WAIT_S)
            assert not self._thread.is_alive()
            self._thread = None
        if self.failed is not None:
            raise self.failed

    def until_cut(self, kind: type[BaseException]) -> None:
        """Wait until the supervisor's thread has ended by this; its servers are left behind."""
        assert self._thread is not None
        self._thread.join(WAIT_S)
        assert isinstance(self.failed, kind), self.failed
        self.failed = self._thread = None

    def until(self, holds: Callable[[], bool], what: str = "") -> None:
        deadline = time.monotonic() + WAIT_S
        while not holds():
            if time.monotonic() > deadline or self.failed is not None:
                raise AssertionError(f"{what or holds} does not come true; {self.failed}; {self.events()}")
            time.sleep(0.01)

    def until_serving(self, slot: SlotName = "a") -> None:
        self.until(lambda: self.state.active == slot and self.health() == "ready", f"slot {slot} serves")

    def health(self) -> str:
        assert self.supervisor is not None
        return self.supervisor.statuses()[0].health

    def flash(self, digest: str = "new:2") -> Flash:
        assert self.supervisor is not None
        flash = self.supervisor.install(digest)
        self.until(lambda: flash.outcome is not None, "the flash ends")
        return flash

    @property
    def state(self) -> DeviceState:
        return read_state(self.layout.state)

    def ended(self, flash: Flash) -> Outcome:
        assert flash.outcome is not None
        return flash.outcome

    def lines(self) -> list[RecordLine]:
        return Record(self.layout.record).read()

    def events(self) -> list[str]:
        return [line.event for line in self.lines()]

    def said(self, event: str) -> str:
        """Return what the last line of an event says."""
        return [line.text for line in self.lines() if line.event == event][-1]

    def _start(self, slot: SlotName, behind: bool) -> ServerProcess:
        assert self.supervisor is not None
        self.behind.append(behind)
        command = [sys.executable, "-S", "-E", str(ACTING), str(self.behaviour(slot))]
        return ServerProcess(slot, command, self.layout.root, self.supervisor.wake.set)

    def _run(self, supervisor: Supervisor, booted: threading.Event) -> None:
        try:
            supervisor.boot()
            booted.set()
            while not self._stop.is_set():
                supervisor.wake.wait(0.05)
                supervisor.wake.clear()
                supervisor.step()
            supervisor.shut_down()
        except BaseException as error:  # shown by the test's thread
            self.failed = error
            booted.set()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "device")
    yield made
    made.stop()


@pytest.fixture
def orphan(rig: Rig) -> Iterator[Callable[[], int]]:
    """Return what starts a server as if by a supervisor that is dead."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> int:
        # It leads its own group, as every server does; somebody else must reap it.
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", "import time; time.sleep(60)"], start_new_session=True
        )
        started.append(process)
        threading.Thread(target=process.wait, daemon=True).start()
        note_servers(rig.layout.root, [process.pid])
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.wait()
