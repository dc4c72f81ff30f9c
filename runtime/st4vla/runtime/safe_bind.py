"""Where a server may listen without keys."""

from __future__ import annotations

import ipaddress
import re

from st4vla.contracts.errors import UnsafeBindError

_TCP = re.compile(r"tcp://(?P<host>\[[^\]]*\]|[^:\[\]]*):[^:]*")


def require_safe_bind(endpoint: str, keys: object | None) -> None:
    """Refuse an address that other machines can reach, where a server has no keys.

    Args:
        endpoint: ZeroMQ address to listen on.
        keys: What stands for keys; None for none.

    Raises:
        UnsafeBindError: `endpoint` leads beyond this machine, or is not known not to: an interface's name, a wildcard,
            a transport other than tcp, ipc and inproc.
    """
    if keys is None and "://" in endpoint and not is_local(endpoint):
        msg = (
            f"{endpoint} can be reached from other machines, and without keys whoever reaches it can drive the robot; "
            "listen on tcp://127.0.0.1:5555, or make keys with `st4vla keys make server --out keys` and serve with "
            "--keys keys"
        )
        raise UnsafeBindError(msg)


def is_local(endpoint: str) -> bool:
    """Say whether only processes of this machine can reach an address."""
    if endpoint.startswith(("ipc://", "inproc://")):
        return True
    match = _TCP.fullmatch(endpoint)
    if match is None:
        return False
    host = match["host"].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
