"""Text of strangers, for terminals and logs: nothing in it moves a cursor, and it has the length that is wanted."""

from __future__ import annotations

import hashlib
import unicodedata

ELLIPSIS = "\u2026"


def printable(text: str, limit: int) -> str:
    """Return text on one line of at most `limit` characters; what cannot be printed becomes a question mark."""
    line = clean(" ".join(text[: 4 * limit].split()))
    return line if len(line) <= limit else line[: limit - 1] + ELLIPSIS


def clean(text: str) -> str:
    """Return text with a question mark for each character that cannot be printed."""
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def columns(text: str) -> int:
    """Return how many columns of a terminal printable text takes: two for wide characters, none for marks on others."""
    return sum(_width(character) for character in text)


def fit(text: str, width: int) -> str:
    """Return printable text in exactly `width` columns, cut or filled with spaces."""
    if columns(text) > width:
        kept, taken = "", 0
        for character in text:
            if taken + _width(character) > width - 1:
                break
            kept, taken = kept + character, taken + _width(character)
        text = (kept + ELLIPSIS)[:width] if width else ""
    return text + " " * (width - columns(text))


def client_name(identity: bytes) -> str:
    """Return a short name for a client: its door, and the beginning of a digest of its address there."""
    door, colon, address = identity.partition(b":")
    if not colon:
        door, address = b"", identity
    digest = hashlib.blake2b(address, digest_size=3).hexdigest()
    return f"{printable(door.decode('ascii', 'replace'), 8)}:{digest}" if door else digest


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
