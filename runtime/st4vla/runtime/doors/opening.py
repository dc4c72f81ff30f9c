"""Doors from their options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from st4vla.contracts.errors import UsageError
from st4vla.runtime.doors.dialect import Dialect
from st4vla.runtime.doors.door import Core, Door, start_patiently
from st4vla.runtime.doors.gr00t import Gr00tDialect
from st4vla.runtime.doors.openpi import OpenpiDialect
from st4vla.runtime.doors.options import DoorOptions, parse_door
from st4vla.runtime.doors.router_door import RouterDoor
from st4vla.runtime.doors.starvla import StarvlaDialect
from st4vla.runtime.doors.websocket_door import WebsocketDoor, require_websockets

DIALECTS: dict[str, Callable[[Core, DoorOptions], Dialect]] = {
    "openpi": OpenpiDialect,
    "gr00t": Gr00tDialect,
    "starvla": StarvlaDialect,
}


def make_door(core: Core, options: DoorOptions) -> Door:
    """Return a door, not started yet.

    Raises:
        MissingExtraError: A package of the extra `doors` is not installed.
        UsageError: The options name views or dimensions that the bundle has not.
    """
    dialect = DIALECTS[options.kind](core, options)
    if options.kind == "gr00t":
        return RouterDoor(dialect, core, options)
    require_websockets()
    return WebsocketDoor(dialect, core, options)


@contextmanager
def open_doors(core: Core, texts: Sequence[str], patience_s: float = 0.0) -> Iterator[list[Door]]:
    """Open the doors that ``--door`` asks for, and close them in the end, whatever happens.

    Args:
        core: Who answers.
        texts: What was asked for.
        patience_s: How long to wait for an address that somebody is about to leave.

    Raises:
        UsageError: One of them cannot be read or does not fit the bundle.
        MissingExtraError: A package of the extra `doors` is not installed.
        TransportError: An address cannot be listened on.
    """
    wanted = [parse_door(text) for text in texts]
    addresses = [(options.host, options.port) for options in wanted if options.port]
    if len(set(addresses)) != len(addresses):
        msg = f"--door: two doors on one address: {', '.join(f'{host}:{port}' for host, port in addresses)}"
        raise UsageError(msg)
    # All are made before the first one opens, so that a mistake in the last opens none.
    doors = [make_door(core, options) for options in wanted]
    with ExitStack() as opened:
        for door in doors:
            start_patiently(door, patience_s)
            opened.callback(door.stop)
        yield doors
