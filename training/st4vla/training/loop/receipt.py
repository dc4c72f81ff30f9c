"""What a run says of itself when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from st4vla.contracts.errors import StorageError
from st4vla.contracts.files import write_atomically

RECEIPT = "receipt.json"


def write_receipt(run: Path, receipt: Mapping[str, object]) -> None:
    """Write a receipt into the folder of a run, as indented JSON; its configuration and paths may be in it as they are.

    Raises:
        StorageError: It cannot be written.
    """
    encoded = msgspec.json.format(msgspec.json.encode(receipt, enc_hook=str), indent=2)
    try:
        write_atomically(run / RECEIPT, encoded + b"\n")
    except OSError as error:
        msg = f"{run / RECEIPT} could not be written: {error}; free some disk and run the same command again"
        raise StorageError(msg) from error
