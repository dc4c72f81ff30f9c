import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st4vla.contracts.envelope import Envelope, Signature, decode_base64, read_envelope, write_envelope
from st4vla.contracts.errors import SignatureError


@given(st.binary(max_size=100))
def test_base64_is_read_as_it_is_written(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode(), "it") == data


@pytest.mark.parametrize("text", ["AB==", "AAB=", "AA", "AA=", "A===", "AA==AA==", "AA==\n", " AA==", "-_-_", "é"])
def test_base64_has_one_form(text: str) -> None:
    # In the first two, bits are set that stand for nothing.
    with pytest.raises(SignatureError, match="the payload is not Base64"):
        decode_base64(text, "the payload")


def test_an_envelope_is_read_as_it_was_written() -> None:
    envelope = Envelope("kind", "AAAA", (Signature("a", "b"), Signature("c", "d")))
    assert read_envelope(write_envelope(envelope), "it") == envelope
    assert envelope.body == bytes(3)


def test_fields_that_nobody_knows_are_refused() -> None:
    data = write_envelope(Envelope("kind", "AAAA", ())).replace(b'"payload"', b'"more": 1, "payload"')
    with pytest.raises(SignatureError, match="it is not a signed statement: Object contains unknown field `more`"):
        read_envelope(data, "it")
