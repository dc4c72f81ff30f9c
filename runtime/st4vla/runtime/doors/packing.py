"""msgpack from strangers.

What msgpack leaves open is closed here: no extension types, no containers that are larger, deeper or more numerous than
a request needs (an empty map of one byte becomes a Python object of 64), and no other exception than ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from st4vla.contracts.errors import MalformedMessageError, MissingExtraError
from st4vla.contracts.wire_decoders import Buffer

#: Entries of one list or map.
MAX_ITEMS = 256
#: Lists and maps in one message; eight environments with two views, eight states and a text each hold about a hundred.
MAX_CONTAINERS = 1024

DecodeMap = Callable[[dict[Any, Any]], object]
Encode = Callable[[object], object]


class Packing:
    """A protocol's way of putting arrays into msgpack.

    Args:
        decode_map: Turns a map that stands for an array into it, and returns every other map as it is. It may raise
            `MalformedMessageError`.
        encode: Turns what msgpack does not know into what it does.

    Raises:
        MissingExtraError: msgpack is not installed.
    """

    def __init__(self, decode_map: DecodeMap, encode: Encode) -> None:
        self._library = _msgpack()
        self._decode_map, self._encode = decode_map, encode

    def pack(self, value: object) -> bytes:
        """Return a value of ours as msgpack."""
        packed: bytes = self._library.packb(value, default=self._encode)
        return packed

    def unpack(self, data: Buffer) -> Any:
        """Return what a message holds; keys are text or bytes.

        Raises:
            MalformedMessageError: It is not msgpack, or holds what a request has no use for.
        """
        containers = 0

        def count() -> None:
            nonlocal containers
            containers += 1
            if containers > MAX_CONTAINERS:
                msg = f"a message of more than {MAX_CONTAINERS} lists and maps; send arrays as arrays"
                raise MalformedMessageError(msg)

        def on_map(fields: dict[Any, Any]) -> object:
            count()
            return self._decode_map(fields)

        def on_list(items: list[Any]) -> list[Any]:
            count()
            return items

        try:
            return self._library.unpackb(
                data,
                object_hook=on_map,
                list_hook=on_list,
                max_array_len=MAX_ITEMS,
                max_map_len=MAX_ITEMS,
                max_ext_len=0,
            )
        except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
            why = str(error) or type(error).__name__
            msg = f"a message that is not msgpack of plain values: {why[:200]}"
            raise MalformedMessageError(msg) from error


def _msgpack() -> Any:
    try:
        import msgpack  # noqa: PLC0415 - an extra
    except ImportError as error:
        msg = "doors need msgpack; install it with: pip install 'st4vla[doors]'"
        raise MissingExtraError(msg) from error
    return msgpack
