"""Numbers that others have published."""

import base64
import subprocess
from pathlib import Path

import pytest

from st4vla.contracts.envelope import signed_bytes
from st4vla.runtime.signing.ed25519 import SecretKey, is_signed
from st4vla.runtime.signing.public_keys import PublicKey, read_public_key, write_public_key
from st4vla.runtime.signing.secret_keys import make_signing_key

#: RFC 8032, section 7.1, tests 1 to 3: secret, public, message (a dash is none), both halves of the signature.
_LINES = [
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "-",
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    "72",
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    "af82",
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
]
RFC_8032 = [
    (secret, public, message.strip("-"), first + second)
    for secret, public, message, first, second in zip(*[iter(_LINES)] * 5, strict=True)
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    key = SecretKey.from_seed(bytes.fromhex(secret))
    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert is_signed(key.public, bytes.fromhex(signature), bytes.fromhex(message))
    assert not is_signed(key.public, bytes.fromhex(signature), bytes.fromhex(message) + b"\0")


def test_a_signature_whose_second_half_was_raised_by_the_order_of_the_group_is_refused() -> None:
    # RFC 8032, section 5.1.7: S must be below L, or every signature would have a second form.
    _, public, message, signature = RFC_8032[2]
    order = 2**252 + 27742317777372353535851937790883648493
    raised = int.from_bytes(bytes.fromhex(signature)[32:], "little") + order
    other = bytes.fromhex(signature)[:32] + raised.to_bytes(32, "little")
    assert not is_signed(bytes.fromhex(public), other, bytes.fromhex(message))


def test_what_is_signed_is_what_the_protocol_of_dsse_gives_as_its_example() -> None:
    # github.com/secure-systems-lab/dsse, protocol.md, "Test Vectors".
    assert signed_bytes("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_lengths_count_bytes_and_not_characters() -> None:
    assert signed_bytes("é", b"") == "DSSEv1 2 é 0 ".encode()


def test_the_public_key_of_rfc_8410_is_read_and_written_as_it_stands_there(tmp_path: Path) -> None:
    # Section 10.1.
    body = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
    path = tmp_path / "theirs.pub.pem"
    path.write_text(f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    key = read_public_key(path)
    assert key == PublicKey("theirs", base64.b64decode(body)[12:])
    write_public_key(path, key)
    assert body in path.read_text().splitlines()


@pytest.mark.parametrize("passphrase", [None, b"horse battery"])
def test_openssl_reads_both_files_and_verifies_our_signatures(tmp_path: Path, passphrase: bytes | None) -> None:
    key, public, secret = make_signing_key(tmp_path, "key", ("release",), passphrase=passphrase)
    words = ["openssl", "pkey", "-in", secret, "-pubout", *(["-passin", "pass:horse battery"] if passphrase else [])]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert said in public.read_text()
    (tmp_path / "message").write_bytes(signed_bytes("kind", b"body"))
    pem = secret.read_bytes()
    (tmp_path / "signature").write_bytes(SecretKey.from_pem(pem, passphrase).sign(signed_bytes("kind", b"body")))
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin"]
    words += ["-in", tmp_path / "message", "-sigfile", tmp_path / "signature"]
    subprocess.run(words, check=True, capture_output=True)
    assert key.roles == ("release",)
