"""A policy at work behind its addresses: for as long as the process lives, or again and again between standbys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from st4vla.contracts.manifests import Bundle, degradation
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.core import Core
from st4vla.runtime.curve import ServerKeys
from st4vla.runtime.doors.opening import open_doors
from st4vla.runtime.local.door import open_local
from st4vla.runtime.monitoring import Monitor
from st4vla.runtime.observer import Observer
from st4vla.runtime.orders import BOUND, CLOSED, PROBE, SERVING, SNAPSHOT, STANDING_BY, Orders, StandbyLines
from st4vla.runtime.policy import PolicyInfo
from st4vla.runtime.probe import probe
from st4vla.runtime.scheduler import SchedulingConfig
from st4vla.runtime.server import Server
from st4vla.runtime.systemd import ServiceNotifier

if TYPE_CHECKING:
    from st4vla.runtime.recording.recording import Recording

#: How long a server that takes over waits until its predecessor's doors have said goodbye to their clients.
PATIENCE_S = 5.0


@dataclass(frozen=True)
class Serving:
    """How a bundle is served.

    Attributes:
        bundle: What.
        config: How it is scheduled.
        bind: ZeroMQ address to listen on.
        keys: Its own keys and whom it lets in, if not everybody on this machine.
        local: Path of the door for clients on this machine, if there is to be one.
        doors: What ``--door`` asks for.
        record: Opens a recording, or nothing.
    """

    bundle: Bundle
    config: SchedulingConfig
    bind: str
    keys: ServerKeys | None
    local: Path | None
    doors: Sequence[str]
    record: Callable[[PolicyInfo], AbstractContextManager[Recording | None]]

    def serve(
        self,
        policy: BundlePolicy,
        orders: Orders,
        observer: Observer,
        *,
        say: Callable[[str], None],
        hand_over: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Serve a policy that is warmed up until something else is wanted, and return what there is to tell.

        Args:
            policy: What answers.
            orders: What is wanted.
            observer: Whom probes, metrics and the watchdog ask.
            say: Takes lines for whoever started the server.
            hand_over: Called when another process is to have the addresses, as soon as the first of them is free; None
                for a server that is nobody's predecessor or successor.
        """
        with self.record(policy.info) as recording:
            core = Core(policy, self.config, recording)
            core.diagnosis.watch("degraded_bundle", lambda: degradation(self.bundle.manifest))
            if recording is not None:
                core.diagnosis.watch("recording_ended", recording.why_failed)
            server = Server(core, self.bind, self.keys)
            server.start()
            try:
                if hand_over is not None:
                    say(f"{BOUND} {server.endpoint}")
                patience_s = 0.0 if hand_over is None else PATIENCE_S
                with (
                    open_local(core, self.local, patience_s) as local,
                    open_doors(core, self.doors, patience_s) as others,
                ):
                    doors = [*local, *others]
                    for door in doors:
                        say(f"door {door.address}")
                    if self.keys is not None:
                        names = ", ".join(sorted(self.keys.clients.allowed.values()))
                        say(f"clients that are let in: {names or 'none yet'}")
                    observer.serving(core, doors)
                    with ServiceNotifier(observer):
                        say(f"{SERVING} {self.bundle.manifest.name} on {server.endpoint}")
                        orders.wait_while("serve")
                    observer.stopping()
                    if hand_over is not None and orders.wanted == "stand_by":
                        server.hand_over()
                        hand_over()
            finally:
                server.stop()
        told = {} if recording is None else {"recording": recording.summary()}
        return {"endpoint": server.endpoint, **server.core.counts, **told}


class Standby:
    """A policy that a supervisor lets serve and stand by in turn.

    Args:
        serving: How it is served.
        policy: Its engines, loaded.
        orders: What is wanted.
        monitor: Opens the pages of ``--metrics``, for an observer.
    """

    def __init__(
        self,
        serving: Serving,
        policy: BundlePolicy,
        orders: Orders,
        monitor: Callable[[Observer], AbstractContextManager[Monitor | None]],
    ) -> None:
        self._serving, self._policy, self._orders, self._monitor = serving, policy, orders, monitor
        self._observer = self._new_observer()
        self._lines = StandbyLines(
            orders,
            {
                SNAPSHOT: lambda: msgspec.json.encode(self._observer.snapshot()),
                PROBE: lambda: msgspec.json.encode(probe(serving.bundle, self._endpoint, serving.keys)),
            },
        )
        self._endpoint = ""

    def run(self, loaded: Callable[[], None]) -> Mapping[str, Any]:
        """Check the engines as they were loaded, then do as the supervisor says until it says that it is over.

        Args:
            loaded: Called when all is done that can be done before it serves.

        Raises:
            ParityError: They do not compute what the bundle says.
        """
        self._policy.warm_up()
        self._policy.require_parity()
        loaded()
        self._lines.start()
        told: Mapping[str, Any] = {}
        self._lines.say(STANDING_BY)
        while self._orders.wait_while("stand_by") == "serve":
            self._observer = self._new_observer()
            with self._monitor(self._observer) as monitor:
                told = self._serving.serve(
                    self._policy,
                    self._orders,
                    self._observer,
                    say=self._say,
                    hand_over=partial(self._hand_over, monitor),
                )
            if self._orders.wanted == "stand_by":
                self._lines.say(STANDING_BY)
        return told

    def _hand_over(self, monitor: Monitor | None) -> None:
        if monitor is not None:
            monitor.close()
        self._lines.say(CLOSED)

    def _say(self, line: str) -> None:
        if line.startswith(BOUND):
            self._endpoint = line.partition(" ")[2]
        self._lines.say(line)

    def _new_observer(self) -> Observer:
        return Observer(self._serving.bundle.manifest.name, self._serving.bundle.digest)
