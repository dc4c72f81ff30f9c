"""Ask a server's monitor over HTTP how it is."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import msgspec

from st4vla.contracts.errors import ServerUnreachableError, UsageError
from st4vla.runtime.snapshot import Snapshot

TIMEOUT_S = 2.0
#: Many times the snapshot of a server with a hundred clients.
MAX_BYTES = 4 * 1024 * 1024


def monitor_url(given: str) -> str:
    """Return ``http://HOST:PORT`` of what was given with or without the scheme.

    Raises:
        UsageError: It is neither.
    """
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        good = parts.scheme == "http" and parts.hostname and parts.port and parts.path in {"", "/"} and not parts.query
    except ValueError:
        good = False
    if not good:
        msg = f"{given}: give the address that `st4vla serve --metrics` listens on, such as http://127.0.0.1:9464"
        raise UsageError(msg)
    return f"http://{parts.netloc}"


def fetch_snapshot(url: str, timeout_s: float = TIMEOUT_S) -> Snapshot:
    """Return the snapshot of a monitor at a URL that `monitor_url` returned.

    Raises:
        ServerUnreachableError: Nobody answers there, or not with a snapshot.
    """
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", "/snapshot", headers={"Accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read(MAX_BYTES)
    except (OSError, HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        msg = f"no answer from {url} ({why}); start a server with `st4vla serve BUNDLE --metrics {parts.netloc}`"
        raise ServerUnreachableError(msg) from error
    finally:
        connection.close()
    try:
        if answer.status == 200:
            return msgspec.json.decode(body, type=Snapshot)
    except msgspec.DecodeError as error:
        msg = f"what answers at {url} is no st4vla server of this version ({error})"
        raise ServerUnreachableError(msg) from error
    msg = f"what answers at {url} is no st4vla server: it has no /snapshot (status {answer.status})"
    raise ServerUnreachableError(msg)
