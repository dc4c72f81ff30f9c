"""Keep a slot's server running: start it, ask it how it is, end it when it hangs, start it again with patience."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from st4vla.contracts.clock import NS_PER_S, monotonic_ns
from st4vla.contracts.device_status import ServerStatus, SlotName
from st4vla.runtime.flashing.server_process import ServerProcess

#: How long until a server that ended is started again, at first and at most; it doubles each time.
BACKOFF_S, MAX_BACKOFF_S = 1.0, 30.0
#: One that served for so long begins with the shortest again.
WELL_S = 60.0
#: How often a server is asked how it is, and how long it may owe the answer or answer nobody's observations.
ASK_S, SILENT_S, UNREADY_S = 1.0, 10.0, 5.0
#: How long one that was told to serve may take: its doors wait for those of its predecessor.
GOING_S = 30.0
#: How long a server may take to end by itself.
END_S = 10.0
#: One that ended so often in a row is down for whoever asks, also while it is started once more.
MANY = 5

#: Starts the server of a slot; the second argument says whether another one serves meanwhile.
Start = Callable[[SlotName, bool], ServerProcess]


@dataclass(frozen=True)
class Failure:
    """How a server ended that should not have.

    Attributes:
        why: In words.
        error: Class of its error, where it said so.
        served: Whether it ever served.
    """

    why: str
    error: str
    served: bool


class Keeper:
    """Keep the server of one slot running.

    Args:
        start: Starts a server.
        start_timeout_s: Within which time it must be ready to serve.

    Attributes:
        server: The process, or None between two of them.
        slot: What it serves, or None when nothing is to be served.
        restarts: How often it ended by itself since the slot was given.
        why_down: Why there is no server, in words.
    """

    def __init__(self, start: Start, start_timeout_s: float) -> None:
        self._start, self._start_timeout_s = start, start_timeout_s
        self.server: ServerProcess | None = None
        self.slot: SlotName | None = None
        self.restarts = 0
        self.why_down = "nothing was flashed to this device yet"
        self._backoff_s, self._in_a_row = BACKOFF_S, 0
        self._again_ns: int | None = None
        self._asked_ns = self._serving_ns = 0
        self._unready_ns: int | None = None
        self._hung = ""

    @property
    def is_serving(self) -> bool:
        """Whether somebody answers observations, as far as is known."""
        return self.server is not None and self.server.phase == "serving"

    def serve(self, slot: SlotName) -> None:
        """Serve a slot with a process of its own, from now on."""
        self._take_over(slot, None)
        self._begin(slot)

    def adopt(self, server: ServerProcess) -> None:
        """Keep a server that runs already, from now on."""
        self._take_over(server.slot, server)

    def release(self) -> ServerProcess | None:
        """Let a server go, whatever it does, and return it."""
        server, self.server, self.slot = self.server, None, None
        self.why_down = "another server takes over"
        self._forget()
        return server

    def give_up(self, why: str) -> None:
        """Start no server any more."""
        self.release()
        self.why_down = why

    def step(self, *, ask_s: float = ASK_S) -> Failure | None:
        """Do what is due, and return how the server ended, once, if it did. It is started again in a while."""
        now_ns, server = monotonic_ns(), self.server
        if server is None:
            if self.slot is not None and self._again_ns is not None and now_ns >= self._again_ns:
                self._forget()
                self._begin(self.slot)
            return None
        if server.has_ended():
            return self._ended(server, now_ns)
        if server.phase == "standing_by":
            server.go()
        elif server.phase == "serving":
            self._look(server, now_ns, ask_s)
        elif server.phase == "loading" and server.in_phase_s > self._start_timeout_s:
            self._end(server, f"it was not ready within {self._start_timeout_s:g} s")
        elif server.phase in {"going", "bound"} and server.in_phase_s > GOING_S:
            self._end(server, f"it did not begin to serve within {GOING_S:g} s")
        return None

    def status(self, endpoint: str) -> ServerStatus:
        """Return how the server is; `endpoint` is where it will listen."""
        server = self.server
        if server is None or server.phase == "ended":
            again = "" if self.slot is None else "; it is started again in a moment"
            return ServerStatus(endpoint, "down", (f"{self.why_down}{again}",), restarts=self.restarts)
        if server.phase != "serving" or server.snapshot is None:
            causes = (self.why_down,) if self.why_down else ()
            health = "down" if self._in_a_row >= MANY else "starting"
            return ServerStatus(endpoint, health, causes, restarts=self.restarts)
        seen = server.snapshot
        return ServerStatus(
            server.endpoint,
            seen.health,
            tuple(cause.text for cause in seen.causes),
            seen.uptime_s,
            self.restarts,
            round(seen.system1.calls.rate_hz, 2),
            round(seen.system2.calls.rate_hz, 2),
            seen.frame_age.p99_ms,
            len(seen.clients),
        )

    def _look(self, server: ServerProcess, now_ns: int, ask_s: float) -> None:
        self._serving_ns = self._serving_ns or now_ns
        if now_ns - self._serving_ns > WELL_S * NS_PER_S:
            self._backoff_s, self._in_a_row = BACKOFF_S, 0
        if now_ns - self._asked_ns >= ask_s * NS_PER_S:
            self._asked_ns = now_ns
            server.ask_snapshot()
        if server.owes_s() > SILENT_S:
            self._end(server, f"it has not said how it is for {SILENT_S:g} s")
        ready = server.snapshot is None or server.snapshot.ready
        self._unready_ns = None if ready else self._unready_ns or now_ns
        if self._unready_ns is not None and now_ns - self._unready_ns > UNREADY_S * NS_PER_S:
            causes = "" if server.snapshot is None else "; ".join(cause.text for cause in server.snapshot.causes)
            self._end(server, f"it answered no observations: {causes}")

    def _end(self, server: ServerProcess, why: str) -> None:
        self._hung = self._hung or why
        server.kill()

    def _ended(self, server: ServerProcess, now_ns: int) -> Failure:
        why = f"the server was ended: {self._hung}" if self._hung else server.why_ended()
        self.server = None
        self.restarts += 1
        self.why_down = why
        self._be_patient(now_ns)
        return Failure(why, server.error, server.has_served)

    def _begin(self, slot: SlotName) -> None:
        try:
            self.server = self._start(slot, False)
        except OSError as error:
            self.why_down = f"the server cannot be started: {error.strerror}"
            self._be_patient(monotonic_ns())

    def _be_patient(self, now_ns: int) -> None:
        self._in_a_row += 1
        self._again_ns = now_ns + round(self._backoff_s * NS_PER_S)
        self._backoff_s = min(2 * self._backoff_s, MAX_BACKOFF_S)

    def _take_over(self, slot: SlotName, server: ServerProcess | None) -> None:
        self.server, self.slot, self.restarts, self.why_down = server, slot, 0, ""
        self._backoff_s, self._in_a_row = BACKOFF_S, 0
        self._forget()

    def _forget(self) -> None:
        self._asked_ns = self._serving_ns = 0
        self._unready_ns = self._again_ns = None
        self._hung = ""


class Retiring:
    """Servers that are to end: asked first, killed when that is not enough."""

    def __init__(self) -> None:
        self._servers: list[tuple[ServerProcess, int]] = []

    def add(self, server: ServerProcess | None) -> None:
        """Let a server end, if there is one."""
        if server is not None and not server.has_ended():
            server.terminate()
            self._servers.append((server, monotonic_ns()))

    def step(self) -> None:
        """Kill what takes too long."""
        self._servers = [(server, since_ns) for server, since_ns in self._servers if not server.has_ended()]
        for server, since_ns in self._servers:
            if monotonic_ns() - since_ns > END_S * NS_PER_S:
                server.kill()

    def finish(self) -> None:
        """Wait until all have ended, and kill those that do not."""
        until = time.monotonic() + END_S
        for server, _ in self._servers:
            if not server.wait(until - time.monotonic()):
                server.kill()
        for server, _ in self._servers:
            server.wait(END_S)

    @property
    def running(self) -> list[ServerProcess]:
        """Those that have not ended yet."""
        return [server for server, _ in self._servers if not server.has_ended()]
