"""The device's own list of trusted keys: the first, put there by hand, and each newer one."""

from __future__ import annotations

from pathlib import Path

from st4vla.contracts.envelope import MAX_ENVELOPE_BYTES
from st4vla.contracts.errors import KeyFileError, StorageError
from st4vla.contracts.files import write_atomically
from st4vla.contracts.release import TrustList
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.locking import locked
from st4vla.runtime.flashing.record import Record
from st4vla.runtime.flashing.store import LOCK_S
from st4vla.runtime.signing import accept_trust, open_trust, read_trust


def take_trust(layout: Layout, envelope: bytes) -> TrustList:
    """Take a device's first list as it is, and a newer one if the list that is there trusts it; return what holds now.

    Args:
        layout: The device's files.
        envelope: The list's bytes.

    Raises:
        SignatureError: It is no list, or not signed by a key that is trusted for that.
        DowngradeError: It is older than the one that is there.
        StorageError: The disk does not take it.
        MissingExtraError: The package `cryptography` is missing.
    """
    with locked(layout.lock, "changes this device's list of trusted keys", wait_s=LOCK_S):
        if layout.trust.exists():
            current = read_trust(layout.trust)
            trust = accept_trust(current, envelope)
            if trust == current:
                return current
        else:
            trust = open_trust(envelope)
        try:
            write_atomically(layout.trust, envelope)
        except OSError as error:
            msg = f"{layout.trust} cannot be written: {error.strerror}; nothing has changed"
            raise StorageError(msg) from error
        names = ", ".join(sorted(key.name for key in trust.keys.values()))
        Record(layout.record).write("trust", text=f"trusts version {trust.version} of the list: {names}")
        return trust


def read_list(path: Path) -> bytes:
    """Return the bytes of a list's file.

    Raises:
        KeyFileError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_ENVELOPE_BYTES + 1)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise KeyFileError(msg) from error
