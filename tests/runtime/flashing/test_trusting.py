from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.errors import DowngradeError, KeyFileError, SignatureError
from st4vla.runtime.flashing.record import Record
from st4vla.runtime.flashing.trusting import read_list, take_trust
from st4vla.runtime.signing import read_trust
from st4vla.runtime.signing.ed25519 import SecretKey
from st4vla.runtime.signing.public_keys import PublicKey
from st4vla.runtime.signing.trust_changes import add_key


def test_a_newer_list_takes_the_place_of_the_one_that_trusts_it_and_is_written_down(device: Any) -> None:
    other = SecretKey.from_seed(b"1" * 32)
    grown = add_key(device.trust, PublicKey("successor", other.public, ("release",)), ("release",))
    assert take_trust(device.layout, device.signed_list(grown)) == grown
    assert read_trust(device.layout.trust) == grown
    with pytest.raises(DowngradeError, match="has version 1; it must be higher than 2"):
        take_trust(device.layout, device.signed_list(device.trust))
    # Twice the same is none the worse.
    assert take_trust(device.layout, device.signed_list(grown)) == grown
    texts = [line.text for line in Record(device.layout.record).read() if line.event == "trust"]
    assert texts == [
        "trusts version 1 of the list: releaser",
        "trusts version 2 of the list: releaser, successor",
    ]


def test_a_list_that_nobody_trusts_changes_nothing(device: Any) -> None:
    before = device.layout.trust.read_bytes()
    for envelope in (b"", b"{}", device.signed_list(device.trust)[:-20]):
        with pytest.raises(SignatureError):
            take_trust(device.layout, envelope)
    assert device.layout.trust.read_bytes() == before


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"none\.json cannot be read: No such file"):
        read_list(tmp_path / "none.json")
