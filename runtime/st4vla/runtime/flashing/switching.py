"""From one server to another: the new one is loaded and checked in standby, then the old one lets go of its addresses.

The old server keeps its engines and stands by, so that it is back within milliseconds should the new one do badly.
"""

from __future__ import annotations

from typing import Literal

from st4vla.contracts.clock import NS_PER_MS, monotonic_ns
from st4vla.contracts.device_status import SlotName
from st4vla.runtime.flashing.keeper import GOING_S, Keeper, Retiring, Start
from st4vla.runtime.flashing.server_process import ServerProcess
from st4vla.runtime.snapshot import Snapshot

#: How long the old server may take to let go; then it is killed.
CLOSE_S = 2.0
#: A snapshot that is older says nothing of how the old policy did before the switch.
FRESH_NS = 5_000_000_000
Stage = Literal["making_room", "loading", "ready", "closing", "going", "done", "failed"]


class Switch:
    """One change of the server that serves.

    Args:
        slot: What is to serve.
        keeper: Keeps the server that serves now; it keeps the new one in the end.
        retiring: Where servers end.
        start: Starts a server.
        start_timeout_s: Within which time the new one must be ready.
        no_room: Why both cannot be loaded at once, or None.
        server: A server that stands by already.

    Attributes:
        stage: At ``ready`` it waits for `proceed`; ``done`` and ``failed`` are its ends.
        old: The server that served before, from `proceed` on, unless it is gone.
        before: How that did, if it did something.
        gap_ms: For how long nobody listened.
        why: Why it failed, and `error` the class of the error.
        has_handed_over: Whether `proceed` was called.
    """

    def __init__(
        self,
        slot: SlotName,
        keeper: Keeper,
        retiring: Retiring,
        start: Start,
        *,
        start_timeout_s: float,
        no_room: str | None = None,
        server: ServerProcess | None = None,
    ) -> None:
        self.slot, self._keeper, self._retiring, self._start = slot, keeper, retiring, start
        self._start_timeout_s = start_timeout_s
        self._server = server
        self._previous: SlotName | None = None
        self.stage: Stage = "loading"
        self.old: ServerProcess | None = None
        self.before: Snapshot | None = None
        self.gap_ms: float | None = None
        self.why = self.error = ""
        self.has_handed_over = False
        self._let_go_ns = 0
        if server is not None:
            self.stage = "ready"
        elif no_room is None:
            self._load()
        else:
            self._make_room()

    @property
    def server(self) -> ServerProcess | None:
        """The new server."""
        return self._server

    def step(self) -> None:
        """Do what is due."""
        if self.stage == "making_room":
            if not self._retiring.running:
                self._load()
        elif self.stage == "loading":
            self._wait_for_standby()
        elif self.stage == "closing":
            self._wait_for_old()
        elif self.stage == "going":
            self._wait_for_new()

    def proceed(self) -> None:
        """Hand over, now that the state on the disk says so."""
        self.has_handed_over = True
        self.old = self._keeper.release()
        self._let_go_ns = monotonic_ns()
        self.stage = "closing"
        if self.old is None:
            return
        if self.old.phase == "serving":
            self.old.close()
            seen = self.old.snapshot
            if seen is not None and self._let_go_ns - self.old.snapshot_ns < FRESH_NS:
                self.before = seen
        else:
            self.old.kill()

    def abandon(self, error: str = "", why: str = "it was given up") -> None:
        """Give up before the hand-over; what served before goes on."""
        if self._server is not None:
            self._server.kill()
            self._retiring.add(self._server)
        self._fail(error, why)

    def _make_room(self) -> None:
        """Let the old server end first: the machine has not the memory for both."""
        self.stage = "making_room"
        self._previous = self._keeper.slot
        self._let_go_ns = monotonic_ns()
        self._retiring.add(self._keeper.release())

    def _load(self) -> None:
        self.stage = "loading"
        try:
            self._server = self._start(self.slot, self._keeper.is_serving)
        except OSError as error:
            self._fail(type(error).__name__, f"the server cannot be started: {error.strerror}")

    def _wait_for_standby(self) -> None:
        server = self._server
        assert server is not None  # noqa: S101 - it was started
        if server.phase == "standing_by":
            self.stage = "ready"
        elif server.has_ended():
            if server.killed_for_memory() and self._previous is None and self._keeper.server is not None:
                # Perhaps both are too much after all: once more, one after the other.
                self._make_room()
                return
            self._fail(server.error, server.why_ended())
        elif server.in_phase_s > self._start_timeout_s:
            server.kill()
            self._retiring.add(server)
            self._fail("", f"the server was not ready within {self._start_timeout_s:g} s")

    def _wait_for_old(self) -> None:
        assert self._server is not None  # noqa: S101 - it stands by
        if self.old is not None and self.old.phase not in {"closed", "standing_by", "ended"}:
            if self.old.in_phase_s > CLOSE_S:
                self.old.kill()
            return
        self._server.go()
        self.stage = "going"

    def _wait_for_new(self) -> None:
        server = self._server
        assert server is not None  # noqa: S101 - it was told to go
        if server.phase == "serving":
            since_ns = 0 if self.old is None and self._previous is None else self._let_go_ns
            self.gap_ms = (server.bound_ns - since_ns) / NS_PER_MS if since_ns else None
            self._keeper.adopt(server)
            self.stage = "done"
        elif server.has_ended():
            self._fail(server.error, server.why_ended())
        elif server.in_phase_s > GOING_S:
            server.kill()
            self._retiring.add(server)
            self._fail("", f"the server did not begin to serve within {GOING_S:g} s")

    def _fail(self, error: str, why: str) -> None:
        self.stage, self.error, self.why = "failed", error, why
        if not self.has_handed_over and self._previous is not None and self._keeper.slot is None:
            self._keeper.serve(self._previous)
