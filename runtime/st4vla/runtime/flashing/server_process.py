"""A policy server as the supervisor's child: `st4vla serve --standby`, driven by words (`st4vla.runtime.orders`)."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.device_status import SlotName
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.orders import BOUND, CLOSE, CLOSED, GO, PROBE, SERVING, SNAPSHOT, STANDING_BY
from st4vla.runtime.probe_report import ProbeReport
from st4vla.runtime.snapshot import Snapshot

LOG = logging.getLogger(__name__)
#: ``loading`` to ``standing_by``, then ``going``, ``bound``, ``serving``, ``closing``, ``closed`` and again
#: ``standing_by``; ``ended`` at last.
Phase = Literal["loading", "standing_by", "going", "bound", "serving", "closing", "closed", "ended"]
#: What this process must not hand on: systemd's ends are the supervisor's.
PRIVATE_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")
#: No line of a server is longer, not with a hundred clients.
MAX_LINE_BYTES = 4 << 20
#: The folder that Python would look into first is the current one, which is nobody's business here.
PROGRAM = "import sys; del sys.path[0]; from st4vla.contracts.command_line import main; raise SystemExit(main())"


def serve_command(layout: Layout, config: DeviceConfig, slot: SlotName, *, behind: bool) -> list[str]:
    """Return the command line that serves a slot in standby; `behind` lets another server go first until then."""
    files, serve = layout.slot(slot), config.serve
    command = [sys.executable, "-c", PROGRAM, "serve", str(files.bundle), "--engines", str(files.engines)]
    command += ["--bind", serve.bind, "--standby", "behind" if behind else "alone"]
    command += ["--system-root", config.system_root]
    if serve.keys is not None:
        command += ["--keys", serve.keys]
    if serve.backend is not None:
        command += ["--backend", serve.backend]
    for door in serve.doors:
        command += ["--door", door]
    return [*command, *serve.args]


class ServerProcess:
    """One server, from its start to its end. All methods belong to one thread, which `notify` may wake.

    Args:
        slot: What it serves.
        command: See `serve_command`. The process is the leader of a group of its own.
        folder: Where it works.
        notify: Called from another thread whenever something has changed.

    Attributes:
        slot: What it serves.
        phase: How far it is.
        phase_ns: Since when, on this machine's monotonic clock.
        began_ns: When it was started.
        has_served: Whether it ever did.
        bound_ns: When it began to listen the last time.
        endpoint: Where it listens, once it does.
        snapshot: Its last answer, or None.
        snapshot_ns: When that came.
        probe: What its own client came to the last time, or None.
        last_line: What a command of ours ends with; empty until then.
    """

    def __init__(self, slot: SlotName, command: Sequence[str], folder: Path, notify: Callable[[], None]) -> None:
        self.slot, self._notify = slot, notify
        self.phase: Phase = "loading"
        self.began_ns = self.phase_ns = monotonic_ns()
        self.has_served = False
        self.bound_ns = 0
        self.endpoint = ""
        self.snapshot: Snapshot | None = None
        self.snapshot_ns = 0
        self.probe: ProbeReport | None = None
        self.last_line: Mapping[str, Any] = {}
        self._asked_ns: dict[str, int] = {}
        environment = {name: value for name, value in os.environ.items() if name not in PRIVATE_VARIABLES}
        self._process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - the command is our own
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        reader = threading.Thread(
            target=self._listen, args=(self._process.stdout,), name=f"st4vla_server_{slot}", daemon=True
        )
        reader.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def in_phase_s(self) -> float:
        """How long it has been in its phase."""
        return (monotonic_ns() - self.phase_ns) / 1e9

    def go(self) -> None:
        """Let it serve."""
        self._enter("going")
        self._tell(GO)

    def close(self) -> None:
        """Let it leave its addresses at once, tidy up, and stand by again."""
        self._enter("closing")
        self._tell(CLOSE)

    def ask_snapshot(self) -> None:
        """Ask how it is, unless it still owes an answer."""
        self._ask(SNAPSHOT)

    def ask_probe(self) -> None:
        """Let it ask itself, through its own address, unless it does so already."""
        self._ask(PROBE)

    def owes_s(self) -> float:
        """Return for how long it has owed an answer to `ask_snapshot`; 0 when it does not."""
        asked_ns = self._asked_ns.get(SNAPSHOT)
        return 0.0 if asked_ns is None else (monotonic_ns() - asked_ns) / 1e9

    def terminate(self) -> None:
        """Ask it to end; a running engine call is waited for."""
        self._signal(signal.SIGTERM)
        self._hang_up()

    def kill(self) -> None:
        """End it, and whatever it started."""
        self._signal(signal.SIGKILL)
        self._hang_up()

    def has_ended(self) -> bool:
        """Say whether the process is gone; its last line has been read then."""
        return self.phase == "ended"

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end, and say whether it came."""
        until = time.monotonic() + timeout_s
        while not self.has_ended() and time.monotonic() < until:
            time.sleep(0.01)
        return self.has_ended()

    @property
    def error(self) -> str:
        """Class of the error that it ended with, where it said so."""
        return str(self.last_line.get("error", ""))

    def why_ended(self) -> str:
        """Return in words how it ended."""
        status = self._process.returncode
        if self.last_line.get("ok") is False:
            return str(self.last_line.get("message", "it says not why"))
        if status is None:
            return "it closed its output and goes on"
        if status < 0:
            with contextlib.suppress(ValueError):
                return f"it was ended by {signal.Signals(-status).name}"
        return f"it ended with status {status}"

    def killed_for_memory(self) -> bool:
        """Say whether somebody else killed it, as the kernel does when memory runs out."""
        return self._process.returncode == -signal.SIGKILL

    def resident_bytes(self) -> int:
        """Return how much memory it has; 0 when that cannot be read."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE")
        return 0

    def _ask(self, word: str) -> None:
        if self.phase == "serving" and word not in self._asked_ns:
            self._asked_ns[word] = monotonic_ns()
            self._tell(word)

    def _tell(self, word: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        # One that has just ended is noticed by its end.
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(f"{word}\n".encode())
            self._process.stdin.flush()

    def _hang_up(self) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        # A group whose leader has been waited for may be another's by now.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def _enter(self, phase: Phase) -> None:
        self.phase_ns = monotonic_ns()
        self.phase = phase

    def _listen(self, stream: IO[bytes]) -> None:
        try:
            with stream:
                while line := stream.readline(MAX_LINE_BYTES):
                    self._take(line.strip())
        except Exception:
            LOG.exception("a line of the server cannot be understood")
        self._process.wait()
        self._hang_up()
        self._enter("ended")
        self._notify()

    def _take(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        word, _, rest = text.partition(" ")
        if text == STANDING_BY:
            self._enter("standing_by")
        elif word == BOUND:
            self.endpoint = rest
            self._enter("bound")
            self.bound_ns = self.phase_ns
        elif word == SERVING:
            self.has_served = True
            self._asked_ns.clear()
            self.snapshot = self.probe = None
            self._enter("serving")
        elif text == CLOSED:
            self._enter("closed")
        elif word == SNAPSHOT:
            self.snapshot = msgspec.json.decode(rest, type=Snapshot)
            self.snapshot_ns = monotonic_ns()
            self._asked_ns.pop(SNAPSHOT, None)
        elif word == PROBE:
            self.probe = msgspec.json.decode(rest, type=ProbeReport)
            self._asked_ns.pop(PROBE, None)
        elif line.startswith(b"{"):
            self.last_line = msgspec.json.decode(line, type=dict[str, Any])
        else:
            LOG.info("slot %s: %s", self.slot, text)
        self._notify()
