from pathlib import Path
from typing import Any

import msgspec
import pytest

from st4vla.contracts.errors import DowngradeError, KeyFileError, SignatureError, UsageError
from st4vla.contracts.release import RELEASE_TYPE, TRUST_TYPE, RevokedKey, TrustList
from st4vla.runtime.signing import accept_trust, open_trust, read_trust, verify_release
from st4vla.runtime.signing.public_keys import PublicKey
from st4vla.runtime.signing.statements import sign_statement
from st4vla.runtime.signing.trust_changes import add_key, find_key, new_trust, revoke_key, sign_trust


def public(key: Any, name: str) -> PublicKey:
    return PublicKey(name, key.public)


def signed(trust: TrustList, *keys: Any) -> bytes:
    return sign_statement(TRUST_TYPE, trust, keys)


def test_a_first_list_is_read_as_it_was_signed(house: Any, tmp_path: Path) -> None:
    trust = new_trust([(public(house.owner, "owner"), ("trust",)), (public(house.signer, "signer"), ("release",))])
    assert trust == house.trust
    path = tmp_path / "trust.json"
    path.write_bytes(sign_trust(trust, None, [house.owner]))
    assert read_trust(path) == trust


def test_a_list_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"trust\.json is not there, so nobody is trusted; .*device init --trust"):
        read_trust(tmp_path / "trust.json")
    with pytest.raises(KeyFileError, match="cannot be read: Is a directory"):
        read_trust(tmp_path)


def test_a_list_must_be_signed_by_a_key_that_it_trusts_for_that(house: Any) -> None:
    for key, match in (
        (house.signer, "by its own keys, is not trusted: key 'signer' is trusted for 'release', not for 'trust'"),
        (house.stranger, "is not on the trust list"),
    ):
        with pytest.raises(SignatureError, match=match):
            open_trust(signed(house.trust, key))
    with pytest.raises(SignatureError, match=r"is a statement of type .*release.*; here one of .*trust"):
        open_trust(sign_statement(RELEASE_TYPE, house.trust, [house.owner]))


def test_an_altered_byte_anywhere_in_a_list_is_refused_or_changes_nothing(house: Any) -> None:
    envelope = signed(house.trust, house.owner)
    refused = 0
    for index in range(len(envelope)):
        altered = bytearray(envelope)
        altered[index] ^= 1
        try:
            assert accept_trust(house.trust, bytes(altered)) == open_trust(bytes(altered)) == house.trust
        except SignatureError:
            refused += 1
    assert refused > len(envelope) / 2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"version": 0}, "version is 0; it must be at least 1"),
        ({"version": 2**63}, "is 9223372036854775808; it must be"),
        ({"format_version": 2}, "has format version 2; this build reads 1"),
        ({"keys": {}}, "no key has the role 'trust', so that nobody could ever change the list"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(house: Any, change: dict[str, Any], match: str) -> None:
    trust = msgspec.structs.replace(house.trust, **change)
    with pytest.raises(SignatureError, match=match):
        open_trust(signed(trust, house.owner))


def test_a_list_that_contradicts_itself_is_refused_and_the_key_is_named(house: Any) -> None:
    keys = dict(house.trust.keys)
    owner, signer = house.owner.key_id, house.signer.key_id
    for wrong, match in (
        ({**keys, house.stranger.key_id: keys[signer]}, "key 'signer' stands under '.*'..., which is not the SHA-256"),
        ({**keys, signer: msgspec.structs.replace(keys[signer], name="owner")}, "several keys are called 'owner'"),
        ({**keys, signer: msgspec.structs.replace(keys[signer], name="\x1b[2J")}, "cannot name a key"),
        (
            {**keys, signer: msgspec.structs.replace(keys[signer], public="AAAA")},
            "'signer' of a trust list has 3 bytes",
        ),
        ({**keys, signer: msgspec.structs.replace(keys[signer], public="?")}, "'signer' of a trust list is not Base64"),
        ({signer: keys[signer]}, "no key has the role 'trust'"),
    ):
        with pytest.raises(SignatureError, match=match):
            open_trust(signed(msgspec.structs.replace(house.trust, keys=wrong), house.owner))
    both = msgspec.structs.replace(house.trust, revoked={owner: RevokedKey("owner", "lost")})
    with pytest.raises(SignatureError, match="key 'owner' is both trusted and revoked"):
        open_trust(signed(both, house.owner))


def test_a_newer_list_is_accepted_when_a_key_of_the_current_one_signed_it(house: Any) -> None:
    new = add_key(house.trust, public(house.stranger, "new"), ("release",))
    assert accept_trust(house.trust, sign_trust(new, house.trust, [house.owner])) == new
    assert new.version == house.trust.version + 1


def test_the_list_that_is_there_already_is_accepted_again(house: Any) -> None:
    assert accept_trust(house.trust, signed(house.trust, house.owner)) == house.trust


def test_a_list_of_strangers_is_refused_whatever_it_says(house: Any) -> None:
    theirs = house.list(9, them=(house.stranger, ("trust", "release")))
    with pytest.raises(SignatureError, match=r"the new trust list is not trusted: key '.{12}'... is not on"):
        accept_trust(house.trust, signed(theirs, house.stranger))
    with pytest.raises(SignatureError, match="key 'signer' is trusted for 'release', not for 'trust'"):
        accept_trust(house.trust, signed(theirs, house.signer))


def test_a_list_that_is_not_newer_is_a_downgrade(house: Any) -> None:
    current = add_key(house.trust, public(house.stranger, "new"), ("release",))
    with pytest.raises(DowngradeError, match=r"has version 1; it must be higher than 2.*from the newest list"):
        accept_trust(current, signed(house.trust, house.owner))
    other = add_key(house.trust, public(house.stranger, "other"), ("release",))
    with pytest.raises(DowngradeError, match="has version 2; it must be higher than 2"):
        accept_trust(current, signed(other, house.owner))


def test_a_revoked_key_never_comes_back(house: Any) -> None:
    current = revoke_key(house.trust, "signer", "lost on a train")
    assert current.revoked == {house.signer.key_id: RevokedKey("signer", "lost on a train")}
    again = msgspec.structs.replace(house.trust, version=3)
    with pytest.raises(SignatureError, match=r"forgets that key 'signer' was revoked \(lost on a train\)"):
        accept_trust(current, signed(again, house.owner))
    with pytest.raises(UsageError, match=r"was revoked, as 'signer' \(lost on a train\), and never comes back"):
        add_key(current, public(house.signer, "another"), ("release",))
    with pytest.raises(UsageError, match="another key is or was called 'signer'"):
        add_key(current, public(house.stranger, "signer"), ("release",))
    with pytest.raises(SignatureError, match="key 'signer' was revoked: lost on a train"):
        verify_release(house.signed(), house.manifest, current)


def test_a_key_of_lists_is_changed_by_way_of_a_list_that_has_both(house: Any) -> None:
    both = add_key(house.trust, public(house.stranger, "next-owner"), ("trust",))
    after = revoke_key(both, "owner", "retired")
    assert accept_trust(house.trust, sign_trust(both, house.trust, [house.owner])) == both
    assert accept_trust(both, sign_trust(after, both, [house.stranger])) == after
    # A device that was off meanwhile takes the last list too, if the old key signs it beside the new one.
    with pytest.raises(SignatureError, match="is not on the trust list"):
        accept_trust(house.trust, signed(after, house.stranger))
    assert accept_trust(house.trust, signed(after, house.owner, house.stranger)) == after
    # Who is revoked cannot sign the list alone.
    with pytest.raises(SignatureError, match="by its own keys, is not trusted: key 'owner' was revoked: retired"):
        accept_trust(both, signed(after, house.owner))


def test_nobody_can_lock_everybody_out(house: Any) -> None:
    alone = revoke_key(house.trust, "owner", "lost")
    with pytest.raises(SignatureError, match="nobody could ever change the list"):
        sign_trust(alone, house.trust, [house.owner])


def test_signing_a_list_that_no_device_would_take_is_refused(house: Any) -> None:
    new = add_key(house.trust, public(house.stranger, "new"), ("trust",))
    with pytest.raises(SignatureError, match=r"is not on the trust list.* version 1 of the trust list has .*: owner$"):
        sign_trust(new, house.trust, [house.stranger])
    with pytest.raises(SignatureError, match="has 0 signatures"):
        sign_trust(house.trust, None, [])


def test_keys_are_found_by_name_or_by_the_beginning_of_their_id(house: Any) -> None:
    keyid = house.signer.key_id
    assert find_key(house.trust, "signer") == find_key(house.trust, keyid[:8]) == find_key(house.trust, keyid) == keyid
    for name in ("nobody", keyid[:7], ""):
        with pytest.raises(UsageError, match=r"the trust list has no key '.*'; it has owner, signer"):
            find_key(house.trust, name)
    gone = revoke_key(house.trust, keyid[:10], "lost")
    for name in ("signer", keyid):
        with pytest.raises(UsageError, match="is revoked already: lost"):
            find_key(gone, name)


def test_changes_that_mean_nothing_are_refused(house: Any) -> None:
    with pytest.raises(UsageError, match="its file names no role; say with --role"):
        add_key(house.trust, public(house.stranger, "new"), ())
    with pytest.raises(UsageError, match="key 'again' is on the list already, as 'signer'"):
        add_key(house.trust, public(house.signer, "again"), ("release",))
    for why in ("", "  ", "two\nlines", "\x1b[2J"):
        with pytest.raises(UsageError, match="say in one line why the key is revoked"):
            revoke_key(house.trust, "signer", why)
