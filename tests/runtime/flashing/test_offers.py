from collections.abc import Callable
from typing import Any

import pytest

from st4vla.contracts.errors import DowngradeError, FileAlteredError, FlashError, KeyFileError, SignatureError
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle
from st4vla.contracts.release import RELEASE_FILE, Requirements
from st4vla.runtime.flashing.offers import MAX_OFFERS, Offers
from st4vla.runtime.flashing.state import Committed, DeviceState, write_state
from st4vla.runtime.flashing.trusting import take_trust
from st4vla.runtime.signing.ed25519 import SecretKey
from st4vla.runtime.signing.public_keys import PublicKey
from st4vla.runtime.signing.trust_changes import add_key, revoke_key


def test_an_offer_is_verified_kept_and_dropped(device: Any, bundle: Bundle) -> None:
    offer = device.take(bundle, 7)
    offers = Offers(device.layout)
    assert offers.find(bundle.digest) == offer
    assert (offer.manifest, offer.release.counter, offer.key_id) == (bundle.manifest, 7, device.key.key_id)
    assert offers.objects() == {entry.sha256 for entry in bundle.manifest.files.values()}
    # Signed anew, with other words.
    assert device.take(bundle, 8).release.counter == offers.find(bundle.digest).release.counter == 8
    offers.drop(bundle.digest)
    offers.drop("../..")
    assert offers.objects() == set()
    for digest in (bundle.digest, "../..", ""):
        with pytest.raises(FlashError, match="was offered to this device; offer it first"):
            offers.find(digest)


def test_what_is_not_signed_or_for_another_bundle_is_not_kept(
    device: Any, bundle: Bundle, other_bundle: Bundle
) -> None:
    offers, manifest = Offers(device.layout), bundle.path(BUNDLE_MANIFEST).read_bytes()
    with pytest.raises(SignatureError, match=r"release\.json is not a signed statement"):
        offers.take(manifest, b"{}")
    with pytest.raises(FileAlteredError, match=r"bundle\.json is not the one that was signed"):
        offers.take(manifest, device.release(other_bundle, 1))
    device.layout.trust.unlink()
    with pytest.raises(KeyFileError, match="nobody is trusted"):
        device.take(bundle)
    assert not device.layout.offer("0").parent.exists()


def test_an_offer_whose_key_was_revoked_meanwhile_is_found_no_more(device: Any, bundle: Bundle) -> None:
    device.take(bundle)
    other = SecretKey.from_seed(b"1" * 32)
    grown = add_key(device.trust, PublicKey("successor", other.public, ("release", "trust")), ("release", "trust"))
    take_trust(device.layout, device.signed_list(grown))
    take_trust(device.layout, device.signed_list(revoke_key(grown, "releaser", "lost"), other))
    with pytest.raises(SignatureError, match="key 'releaser' was revoked: lost"):
        Offers(device.layout).find(bundle.digest)


def test_a_release_that_lies_altered_on_the_disk_is_refused(device: Any, bundle: Bundle) -> None:
    offer = device.take(bundle)
    path = offer.folder / RELEASE_FILE
    path.write_bytes(device.release(bundle, 2, Requirements(machines=("none",))).replace(b'"sig": "', b'"sig": "A'))
    with pytest.raises(SignatureError):
        Offers(device.layout).find(bundle.digest)


@pytest.mark.parametrize(("counter", "match"), [(4, "has the counter 4, but this device has committed 5"), (5, None)])
def test_an_older_release_is_refused_and_the_same_one_is_not(
    device: Any, bundle: Bundle, counter: int, match: str | None
) -> None:
    committed = {bundle.manifest.name: Committed(5, bundle.digest), "other": Committed(99, "ab")}
    write_state(device.layout.state, DeviceState(committed=committed))
    if match is None:
        device.take(bundle, counter)
    else:
        with pytest.raises(DowngradeError, match=match):
            device.take(bundle, counter)


def test_one_counter_stands_for_one_bundle(device: Any, bundle: Bundle, other_bundle: Bundle) -> None:
    write_state(device.layout.state, DeviceState(committed={bundle.manifest.name: Committed(5, bundle.digest)}))
    with pytest.raises(DowngradeError, match="has the counter 5, which this device has committed for another bundle"):
        device.take(other_bundle, 5)
    device.take(other_bundle, 6)


def test_the_oldest_offers_give_way(device: Any, bundle: Bundle, variant: Callable[[str], Bundle]) -> None:
    digests = [device.take(variant(str(number))).digest for number in range(MAX_OFFERS + 2)]
    kept = [digest for digest in digests if device.layout.offer(digest).exists()]
    assert kept == digests[2:]


def test_an_offer_that_rotted_on_the_disk_keeps_no_objects(device: Any, bundle: Bundle) -> None:
    offer = device.take(bundle)
    (offer.folder / BUNDLE_MANIFEST).write_bytes(b"{")
    assert Offers(device.layout).objects() == set()
