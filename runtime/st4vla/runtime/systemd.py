"""systemd's notifications (sd_notify(3)): ready, alive, stopping, and a line of status.

A datagram to the socket that systemd names in the environment; no library is needed. The watchdog is told that all is
well only while both systems answer, so that a hanging engine makes systemd restart the service.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Mapping
from types import TracebackType

from typing_extensions import Self

from st4vla.runtime.observer import Observer
from st4vla.runtime.printable import printable
from st4vla.runtime.snapshot import Snapshot

LOG = logging.getLogger(__name__)
#: How often the line of status is renewed when there is no watchdog.
STATUS_S = 5.0
STATUS_CHARACTERS = 200
#: systemd's own end is local and reads at once; if it does not, nobody waits for it.
SEND_TIMEOUT_S = 1.0
US_PER_S = 1_000_000


class ServiceNotifier:
    """Tell systemd how a server is, used as a context manager around the time that it serves.

    On entering it says that the service is ready, on leaving that it stops. Outside systemd it does nothing.

    Args:
        observer: Whom to ask.
        environment: What systemd left there.
    """

    def __init__(self, observer: Observer, environment: Mapping[str, str] = os.environ) -> None:
        self._observer = observer
        self._socket = environment.get("NOTIFY_SOCKET", "")
        period_s = watchdog_s(environment)
        self._watched = period_s is not None
        self._interval_s = STATUS_S if period_s is None else period_s / 2
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def beat(self) -> None:
        """Say how the server is, and to the watchdog that it lives, unless it does not."""
        why_dead = self._observer.why_dead()
        if why_dead is not None:
            self._notify(STATUS=why_dead)
        elif self._watched:
            self._notify(WATCHDOG="1", STATUS=_status(self._observer.snapshot()))
        else:
            self._notify(STATUS=_status(self._observer.snapshot()))

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            try:
                self.beat()
            except Exception:
                # Without a sign of life systemd restarts the service, which is right, and this says why.
                LOG.exception("systemd cannot be told how the server is")

    def _notify(self, **variables: str) -> None:
        lines = "\n".join(f"{name}={printable(value, STATUS_CHARACTERS)}" for name, value in variables.items())
        notify(self._socket, lines)

    def __enter__(self) -> Self:
        if self._socket:
            self._notify(READY="1", STATUS=_status(self._observer.snapshot()))
            self._thread = threading.Thread(target=self._run, name="st4vla_systemd", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._notify(STOPPING="1", STATUS="stopping")


def notify(address: str, lines: str) -> bool:
    """Send assignments, one a line, to a notification socket; False when it did not take them.

    Args:
        address: A path, or ``@`` and a name for a socket outside the file system.
        lines: Such as ``READY=1``.
    """
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(SEND_TIMEOUT_S)
            sender.sendto(lines.encode(), target)
    except OSError as error:
        LOG.warning("systemd does not listen on %s: %s", address, error)
        return False
    return True


def watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Return within which time systemd wants a sign of life from this process, or None."""
    period_us, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not period_us.isdigit() or int(period_us) == 0 or (process and process != str(os.getpid())):
        return None
    return int(period_us) / US_PER_S


def _status(snapshot: Snapshot) -> str:
    said = (
        f"{snapshot.bundle_name} for {len(snapshot.clients)} of {snapshot.max_clients} clients, "
        f"System 1 at {snapshot.system1.calls.rate_hz:.1f} Hz, System 2 at {snapshot.system2.calls.rate_hz:.1f} Hz"
    )
    causes = "; ".join(cause.text for cause in snapshot.causes)
    return f"{snapshot.health}: {said}{'; ' if causes else ''}{causes}"
