import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st4vla.contracts.envelope import MAX_ENVELOPE_BYTES, read_envelope
from st4vla.contracts.errors import FileAlteredError, ManifestError, SignatureError
from st4vla.contracts.release import RELEASE_TYPE, TRUST_TYPE, RevokedKey, TrustList
from st4vla.runtime.signing import verify_release
from st4vla.runtime.signing.ed25519 import SecretKey
from st4vla.runtime.signing.public_keys import PublicKey
from st4vla.runtime.signing.statements import MAX_SIGNATURES, sign_statement


def fields(envelope: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(envelope)
    return found


def test_a_release_is_read_with_the_key_that_signed_it(house: Any) -> None:
    assert verify_release(house.signed(), house.manifest, house.trust) == (house.release(), house.signer.key_id)


def test_a_key_that_nobody_knows_is_refused_and_those_that_are_trusted_are_named(house: Any) -> None:
    with pytest.raises(
        SignatureError, match=r"release\.json is not trusted: key '.{12}'\.\.\. is not on the trust list"
    ):
        verify_release(house.signed(house.stranger), house.manifest, house.trust)
    with pytest.raises(SignatureError, match=r"Sign it with a key that version 1 .* has for 'release': signer"):
        verify_release(house.signed(house.stranger), house.manifest, house.trust)


def test_a_key_of_another_role_is_refused_with_what_it_is_trusted_for(house: Any) -> None:
    with pytest.raises(SignatureError, match="key 'owner' is trusted for 'trust', not for 'release'"):
        verify_release(house.signed(house.owner), house.manifest, house.trust)


def test_a_revoked_key_is_refused_with_the_reason(house: Any) -> None:
    revoked = {house.signer.key_id: RevokedKey("signer", "left on a laptop that was stolen")}
    trust = TrustList(1, 2, {house.owner.key_id: house.trust.keys[house.owner.key_id]}, revoked)
    with pytest.raises(SignatureError, match="key 'signer' was revoked: left on a laptop that was stolen"):
        verify_release(house.signed(), house.manifest, trust)
    with pytest.raises(SignatureError, match="has for 'release': it has none"):
        verify_release(house.signed(), house.manifest, trust)
    # Also where somebody left it among the trusted ones.
    with pytest.raises(SignatureError, match="was revoked"):
        verify_release(house.signed(), house.manifest, msgspec.structs.replace(house.trust, revoked=revoked))


def test_a_signature_by_any_trusted_key_is_enough_while_keys_are_changed(house: Any) -> None:
    both = house.signed(house.stranger, house.signer)
    assert verify_release(both, house.manifest, house.trust)[1] == house.signer.key_id
    after = house.list(owner=(house.owner, ("trust",)), new=(house.stranger, ("release",)))
    assert verify_release(both, house.manifest, after)[1] == house.stranger.key_id


def test_every_signature_that_does_not_count_is_explained(house: Any) -> None:
    with pytest.raises(
        SignatureError, match=r"'owner' is trusted for 'trust', not for 'release'; key '.{12}'... is not"
    ):
        verify_release(house.signed(house.owner, house.stranger), house.manifest, house.trust)


def test_a_claim_to_be_a_trusted_key_does_not_help(house: Any) -> None:
    envelope = fields(house.signed(house.stranger))
    envelope["signatures"][0]["keyid"] = house.signer.key_id
    with pytest.raises(SignatureError, match="the signature by key 'signer' is wrong: it or what it signs was altered"):
        verify_release(msgspec.json.encode(envelope), house.manifest, house.trust)


def test_one_kind_of_statement_is_never_taken_for_another(house: Any) -> None:
    signer = house.list(signer=(house.signer, ("release", "trust")))
    envelope = sign_statement(TRUST_TYPE, house.release(), [house.signer])
    with pytest.raises(SignatureError, match=r"is a statement of type 'application/vnd.st4vla.trust"):
        verify_release(envelope, house.manifest, signer)
    renamed = {**fields(envelope), "payloadType": RELEASE_TYPE}
    with pytest.raises(SignatureError, match="is wrong: it or what it signs was altered"):
        verify_release(msgspec.json.encode(renamed), house.manifest, signer)


def test_a_manifest_of_another_bundle_is_named(house: Any) -> None:
    with pytest.raises(FileAlteredError, match=r"bundle\.json is not the one that was signed: its SHA-256 is"):
        verify_release(house.signed(), house.manifest + b" ", house.trust)
    with pytest.raises(SignatureError, match=r"releases 'large', but bundle.json is called 'tiny'"):
        verify_release(house.signed(release=house.release(name="large")), house.manifest, house.trust)
    with pytest.raises(ManifestError, match=r"bundle\.json is not a valid manifest"):
        verify_release(house.signed(release=house.release(b"[]")), b"[]", house.trust)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is not a signed statement"),
        (b"{}", "is not a signed statement"),
        (b"\xff", "is not a signed statement"),
        (b" " * (MAX_ENVELOPE_BYTES + 1), "is 1048577 bytes long; a signed statement has at most"),
    ],
)
def test_what_is_no_envelope_is_refused(house: Any, data: bytes, match: str) -> None:
    with pytest.raises(SignatureError, match=f"there/release.json {match}"):
        verify_release(data, house.manifest, house.trust, "there/release.json")


@pytest.mark.parametrize("count", [0, MAX_SIGNATURES + 1])
def test_no_signature_or_too_many_are_refused(house: Any, count: int) -> None:
    envelope = fields(house.signed())
    envelope["signatures"] *= count
    with pytest.raises(SignatureError, match=f"has {count} signatures; it must have 1 to {MAX_SIGNATURES}"):
        verify_release(msgspec.json.encode(envelope), house.manifest, house.trust)


@pytest.mark.parametrize("sig", ["", "AAAA", base64.b64encode(bytes(64)).decode()])
def test_a_signature_of_another_length_or_of_zeros_is_refused(house: Any, sig: str) -> None:
    envelope = fields(house.signed())
    envelope["signatures"][0]["sig"] = sig
    with pytest.raises(SignatureError, match="the signature by key 'signer' is wrong"):
        verify_release(msgspec.json.encode(envelope), house.manifest, house.trust)


@pytest.mark.parametrize("change", [{"format_version": 2}, {"counter": 0}, {"more": 1}, {"counter": "seven"}])
def test_a_signed_release_of_another_form_is_refused(house: Any, change: dict[str, Any]) -> None:
    said = {**msgspec.to_builtins(house.release()), **change}
    statement = msgspec.defstruct("Statement", [(name, Any) for name in said])
    envelope = sign_statement(RELEASE_TYPE, statement(**said), [house.signer])
    with pytest.raises(SignatureError, match=r"has format version 2|is signed, but what it says cannot be read"):
        verify_release(envelope, house.manifest, house.trust)


def test_a_list_whose_key_is_not_one_is_refused(house: Any) -> None:
    trust = house.list(signer=(house.signer, ("release",)))
    short = PublicKey("signer", b"short").trusted(("release",))
    trust = msgspec.structs.replace(trust, keys={house.signer.key_id: short})
    with pytest.raises(SignatureError, match="the public key 'signer' of a trust list has 5 bytes"):
        verify_release(house.signed(), house.manifest, trust)


def test_an_altered_byte_anywhere_is_refused_or_changes_nothing(house: Any) -> None:
    """Every byte of the file, spaces and names of fields among them, with two of its bits."""
    envelope = house.signed()
    expected = verify_release(envelope, house.manifest, house.trust)
    before = read_envelope(envelope, "it")
    refused = 0
    for index in range(len(envelope)):
        for bit in (0x01, 0x20):
            altered = bytearray(envelope)
            altered[index] ^= bit
            try:
                assert verify_release(bytes(altered), house.manifest, house.trust) == expected
            except SignatureError:
                refused += 1
            else:
                # Then it is the same envelope: white space was altered.
                assert read_envelope(bytes(altered), "it") == before
    assert refused > len(envelope)


def test_an_altered_byte_of_every_field_is_refused(house: Any) -> None:
    def flip(text: str, index: int) -> str:
        return text[:index] + ("A" if text[index] != "A" else "B") + text[index + 1 :]

    whole = fields(house.signed())
    for name in ("payload", "payloadType"):
        for index in range(len(whole[name])):
            altered = msgspec.json.encode({**whole, name: flip(whole[name], index)})
            with pytest.raises(SignatureError):
                verify_release(altered, house.manifest, house.trust)
    for name in ("keyid", "sig"):
        signature = whole["signatures"][0]
        for index in range(len(signature[name])):
            altered = msgspec.json.encode({**whole, "signatures": [{**signature, name: flip(signature[name], index)}]})
            with pytest.raises(SignatureError):
                verify_release(altered, house.manifest, house.trust)


_text = st.text(max_size=40) | st.binary(max_size=80).map(lambda data: base64.b64encode(data).decode())
_signer = SecretKey.from_seed(bytes([2]) * 32).key_id


@settings(max_examples=200, deadline=None)
@given(
    data=st.builds(
        lambda kind, payload, signatures: msgspec.json.encode(
            {"payloadType": kind, "payload": payload, "signatures": signatures}
        ),
        st.sampled_from([RELEASE_TYPE, TRUST_TYPE]) | st.text(max_size=20),
        _text,
        st.lists(
            st.fixed_dictionaries({"keyid": st.just(_signer) | _text, "sig": _text}),
            max_size=3,
        ),
    )
    | st.binary(max_size=200)
)
def test_no_envelope_that_nobody_signed_is_taken_or_ends_otherwise_than_in_a_sentence(house: Any, data: bytes) -> None:
    trust = house.list(signer=(house.signer, ("release",)))
    with pytest.raises(SignatureError) as caught:
        verify_release(data, house.manifest, trust)
    assert len(str(caught.value)) < 1000


@settings(max_examples=50, deadline=None)
@given(note=st.text(max_size=50), counter=st.integers(1, 2**63 - 1))
def test_whatever_is_signed_is_read_again(house: Any, note: str, counter: int) -> None:
    trust = house.list(signer=(house.signer, ("release",)))
    release = msgspec.structs.replace(house.release(counter=counter), note=note)
    envelope = sign_statement(RELEASE_TYPE, release, [house.signer, house.signer])
    assert len(read_envelope(envelope, "it").signatures) == 1
    assert verify_release(envelope, house.manifest, trust) == (release, house.signer.key_id)
