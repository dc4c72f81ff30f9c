"""Which clients a server lets in: a folder of public keys, looked at again and again."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from st4vla.contracts.clock import NS_PER_S, monotonic_ns
from st4vla.contracts.errors import KeyFileError
from st4vla.runtime.key_files import PUBLIC_SUFFIX, read_public

LOG = logging.getLogger(__name__)
#: A list that could not be looked at for so long is taken to be empty: a revoked key must not outlive a dead thread.
STALE_NS = 5 * NS_PER_S

_NOBODY: Mapping[str, str] = MappingProxyType({})
#: Name, inode, size and time of change of every file: two that are equal promise the same keys.
_Signature = tuple[tuple[str, int, int, int], ...]


class AllowList:
    """The public keys in some folders and files, by key.

    One thread calls `refresh`; any thread may read `allowed`, invite and uninvite.

    Args:
        places: Public key files, which end in ``.key``, and folders of which every such file counts.
        stale_ns: Age from which the list is taken to be empty.

    Raises:
        KeyFileError: One of the files cannot be used. Later ones that cannot are left out, with a warning.
    """

    def __init__(self, *places: Path, stale_ns: int = STALE_NS) -> None:
        self._places = places
        self._stale_ns = stale_ns
        self._guests: dict[str, str] = {}
        # Whom a refresh leaves out must not come back by an invitation at the same time.
        self._lock = threading.Lock()
        self._signature = self._look()
        self._names = MappingProxyType({read_public(path): path.stem for path in self._files()})
        self._looked_ns = monotonic_ns()

    @property
    def allowed(self) -> Mapping[str, str]:
        """Name by public key, the same object until something changes; empty while the list is stale."""
        return self._names if monotonic_ns() - self._looked_ns <= self._stale_ns else _NOBODY

    def invite(self, key: str, name: str) -> None:
        """Let in a key of this process's own, which is in no file."""
        with self._lock:
            self._guests[key] = name
            self._names = MappingProxyType({**self._names, key: name})

    def uninvite(self, key: str) -> None:
        """Let that key in no more."""
        with self._lock:
            self._guests.pop(key, None)
            self._names = MappingProxyType({other: name for other, name in self._names.items() if other != key})

    def refresh(self) -> bool:
        """Look for files that came, went or changed; say whether any did.

        A folder that is gone, or that cannot be read, holds nobody: in doubt nobody is let in.
        """
        looked_ns = monotonic_ns()
        signature = self._look()
        changed = signature != self._signature
        if changed:
            names: dict[str, str] = {}
            for path in self._files():
                try:
                    names[read_public(path)] = path.stem
                except KeyFileError as error:
                    LOG.warning("no client is let in by this file: %s", error)
            LOG.log(
                logging.INFO if names else logging.WARNING,
                "clients that are let in: %s",
                ", ".join(sorted(names.values())) or "none",
            )
            with self._lock:
                self._names = MappingProxyType({**names, **self._guests})
            self._signature = signature
        self._looked_ns = looked_ns
        return changed

    def _files(self) -> list[Path]:
        """Return the files there are: in folders, which may be absent, and those that were named."""
        files: list[Path] = []
        for place in self._places:
            if place.suffix == PUBLIC_SUFFIX:
                files.append(place)
                continue
            with contextlib.suppress(OSError):
                files += sorted(place.glob(f"*{PUBLIC_SUFFIX}"))
        return files

    def _look(self) -> _Signature:
        seen = []
        for path in self._files():
            try:
                status = path.stat()
            except OSError:
                continue
            seen.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(seen)
