"""What one ``--door`` asks for: ``KIND=tcp://HOST:PORT[,KEY=VALUE...]``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

from st4vla.contracts.errors import UsageError

KINDS = ("openpi", "gr00t", "starvla")
#: What ``--door`` says of itself.
HELP = (
    "let another project's clients in, on this machine only: KIND=tcp://127.0.0.1:PORT[,KEY=VALUE...] with openpi, "
    "gr00t or starvla for KIND; may be given more than once (see docs/doors.md)"
)
_ADDRESS = re.compile(r"tcp://(\[[0-9a-fA-F:]+\]|[^:/\[\]]+):(\d{1,5}|\*)")


class Planning(str, Enum):
    """Which plan a door's request may be acted on with.

    FRESH: one made from that very request, as the servers do whose clients these are; in a simulator, whose time stands
    still meanwhile, any other plan would be of another moment. REUSE: the newest plan there is, which the slow system
    renews at its own pace, for a robot that cannot wait.
    """

    FRESH = "fresh"
    REUSE = "reuse"


class Part(msgspec.Struct, frozen=True):
    """Some dimensions of an action under a name: from `first` to `last`, both included."""

    name: str
    first: int
    last: int


class DoorOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One door.

    Attributes:
        kind: ``openpi``, ``gr00t`` or ``starvla``.
        host: A loopback address.
        port: 0 for a free one.
        view_keys: Pairs of a key of theirs and the bundle's view that it holds; they go before the usual keys.
        plan: Which plan a request may be acted on with.
        seed: Of a client's first request; it rises by one with each.
        gripper: What the client takes for open and for closed; None for what its protocol usually takes.
        actions: How GR00T's action keys divide an action; empty for the usual names.
        unnorm_keys: Names that starVLA's clients may call the bundle's statistics by.
        version: Whether GR00T's modality configuration goes out as N1.5 or as N1.7 reads it.
        connections: How many clients are served at once.
        timeout_s: How long a request waits for its chunk.
        max_message_bytes: The largest message that is taken.
    """

    kind: str
    host: str = "127.0.0.1"
    port: int = 0
    view_keys: tuple[tuple[str, str], ...] = ()
    plan: Planning = Planning.FRESH
    seed: int = 0
    gripper: tuple[float, float] | None = None
    actions: tuple[Part, ...] = ()
    unnorm_keys: tuple[str, ...] = ()
    version: str = "1.7"
    connections: int = 8
    timeout_s: float = 60.0
    max_message_bytes: int = 16 * 2**20


def parse_door(text: str) -> DoorOptions:
    """Read one ``--door``.

    Known keys are ``plan``, ``seed``, ``gripper``, ``actions``, ``unnorm_key``, ``version``, ``connections`` and
    ``timeout_s``; every other key is one of the client's, and its value names a view of the bundle.

    Raises:
        UsageError: It cannot be read, or would listen where strangers can reach it.
    """
    address, *pairs = text.split(",")
    kind, separator, where = address.partition("=")
    if not separator or kind not in KINDS:
        msg = f"--door {text}: must begin with one of {', '.join(KINDS)}, as in --door openpi=tcp://127.0.0.1:8000"
        raise UsageError(msg)
    host, port = _loopback(kind, where)
    fields: dict[str, Any] = {"kind": kind, "host": host, "port": port}
    view_keys: list[tuple[str, str]] = []
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key or not value:
            msg = f"--door {text}: {pair!r} is not KEY=VALUE"
            raise UsageError(msg)
        if key not in _OPTIONS:
            view_keys.append((key, value))
            continue
        field, read, wanted = _OPTIONS[key]
        try:
            fields[field] = read(value)
        except ValueError as error:
            msg = f"--door {text}: {key}={value} must be {wanted}"
            raise UsageError(msg) from error
    return DoorOptions(**fields, view_keys=tuple(view_keys))


def _loopback(kind: str, where: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(where)
    if match is None or (match[2] != "*" and int(match[2]) > 65535):
        msg = f"--door {kind}={where}: an address looks like tcp://127.0.0.1:8000, and a port of * takes a free one"
        raise UsageError(msg)
    host, port = match[1].strip("[]"), 0 if match[2] == "*" else int(match[2])
    host = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        shown = port or 8000
        msg = (
            f"--door {kind}={where}: this protocol knows no keys, so it is served on this machine only; bind "
            f"tcp://127.0.0.1:{shown} and let others in through a tunnel: ssh -L {shown}:127.0.0.1:{shown} THIS_MACHINE"
        )
        raise UsageError(msg)
    return host, port


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise ValueError(text)
    return number


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError(text)
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 3600:
        raise ValueError(text)
    return number


def _ends(text: str) -> tuple[float, float]:
    opened, closed = (float(end) for end in text.split(":"))
    if opened == closed or not all(abs(end) <= 1e6 for end in (opened, closed)):
        raise ValueError(text)
    return opened, closed


def _parts(text: str) -> tuple[Part, ...]:
    parts = []
    for piece in text.split("+"):
        name, separator, span = piece.partition(":")
        first, _, last = span.partition("-")
        part = Part(name, int(first), int(last or first))
        if not separator or not name or part.last < part.first:
            raise ValueError(text)
        parts.append(part)
    return tuple(parts)


def _version(text: str) -> str:
    if text not in {"1.5", "1.6", "1.7"}:
        raise ValueError(text)
    return text


_OPTIONS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "plan": ("plan", Planning, "fresh or reuse"),
    "seed": ("seed", _seed, "at least 0 and below 2**63"),
    "gripper": ("gripper", _ends, "OPEN:CLOSED, two numbers that differ, such as -1:1"),
    "actions": ("actions", _parts, "NAME:FIRST-LAST+NAME:INDEX..., such as arm:0-5+gripper:6"),
    "unnorm_key": ("unnorm_keys", lambda text: tuple(text.split("+")), "names with + between them"),
    "version": ("version", _version, "1.5, 1.6 or 1.7"),
    "connections": ("connections", _count, "between 1 and 256"),
    "timeout_s": ("timeout_s", _seconds, "more than 0 and at most 3600"),
}
