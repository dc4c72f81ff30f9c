"""A server in a process of its own, for whatever measures one from outside."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from st4vla.contracts.errors import ServerUnreachableError, TransportError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
_PROGRAM = "from st4vla.contracts.command_line import main; raise SystemExit(main())"


@contextmanager
def serving(bundle: Path, engines: Path, log: Path) -> Iterator[str]:
    """Serve a bundle on a free local port and yield its address; stop the server at the end.

    Args:
        bundle: Folder of the bundle.
        engines: Folder of its engines.
        log: File for what the server prints.

    Raises:
        ServerUnreachableError: It did not start; the message is the server's own.
        TransportError: It did not stop when it was asked to, or failed while it stopped.
    """
    command = [sys.executable, "-c", _PROGRAM, "serve", str(bundle), "--engines", str(engines)]
    with log.open("wb") as stream:
        # A session of its own: an interrupt at the keyboard stops the robot first, then the server.
        process = subprocess.Popen(  # noqa: S603
            [*command, "--bind", "tcp://127.0.0.1:*"], stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield _await_endpoint(process, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.returncode != 0:
        msg = f"the server did not stop cleanly (status {process.returncode}); see {log}"
        raise TransportError(msg)


def _await_endpoint(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        text = log.read_text(errors="replace")
        if found := re.search(r"^serving .* on (\S+)$", text, re.MULTILINE):
            return found[1]
        if ended:
            reason = text.strip().partition("\n")[0]
            msg = f"the server ended with status {process.returncode} before it served: {reason}"
            raise ServerUnreachableError(msg)
        time.sleep(0.02)
    msg = f"the server did not begin to serve within {START_TIMEOUT_S:g} s; see {log}"
    raise ServerUnreachableError(msg)
