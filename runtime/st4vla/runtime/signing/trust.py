"""Trust lists: reading them, and accepting newer ones.

A list is signed by a key that the list before it trusts for that, so that nobody else can change it, and by a key that
it trusts itself, so that nobody is locked out by a key that nobody holds, and damage is noticed. In most cases that is
one key. The first list has no list before it: somebody put it there by hand.
"""

from __future__ import annotations

from pathlib import Path

from st4vla.contracts.envelope import MAX_ENVELOPE_BYTES, Envelope
from st4vla.contracts.errors import DowngradeError, KeyFileError, SignatureError, UsageError
from st4vla.contracts.release import TRUST_FORMAT, TRUST_TYPE, TrustList
from st4vla.runtime.key_storage import require_name
from st4vla.runtime.signing.key_ids import key_id, public_bytes, short
from st4vla.runtime.signing.statements import decode_statement, open_envelope, require_signature

_WHAT = "the trust list"


def read_trust(path: Path) -> TrustList:
    """Read a trust list that was put there by hand, or accepted before.

    Raises:
        KeyFileError: There is none.
        SignatureError: See `open_trust`.
        MissingExtraError: The package `cryptography` is missing.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_ENVELOPE_BYTES + 1)
    except FileNotFoundError:
        msg = (
            f"{path} is not there, so nobody is trusted; make a list with `st4vla keys trust new`, and bring it to a "
            "new device with `st4vla device init --trust FILE`"
        )
        raise KeyFileError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise KeyFileError(msg) from error
    return open_trust(data, str(path))


def open_trust(envelope: bytes, what: str = _WHAT) -> TrustList:
    """Return a list from the bytes of its envelope; whether to believe it is another matter (`accept_trust`).

    Raises:
        SignatureError: It is no list, contradicts itself, or is not signed by a key that it trusts itself.
        MissingExtraError: The package `cryptography` is missing.
    """
    return _open(open_envelope(envelope, TRUST_TYPE, what), what)


def accept_trust(current: TrustList, envelope: bytes, what: str = "the new trust list") -> TrustList:
    """Return the newer list of an envelope; or the current one, when the envelope holds just that.

    Raises:
        SignatureError: No list, not signed by a key that both lists trust for lists (or by one of each), or it takes a
            revoked key back.
        DowngradeError: It is not newer.
        MissingExtraError: The package `cryptography` is missing.
    """
    opened = open_envelope(envelope, TRUST_TYPE, what)
    require_signature(opened, "trust", current, what)
    new = _open(opened, what)
    if new == current:
        return current
    if new.version <= current.version:
        msg = (
            f"{what} has version {new.version}; it must be higher than {current.version}, the version of the list that "
            "is trusted now. Make the change again, from the newest list"
        )
        raise DowngradeError(msg)
    for keyid, revoked in current.revoked.items():
        if keyid not in new.revoked:
            msg = (
                f"{what} forgets that key {revoked.name!r} was revoked ({revoked.why}); a revoked key never comes "
                "back. Make a new key"
            )
            raise SignatureError(msg)
    return new


def require_sound(trust: TrustList, what: str) -> None:
    """Refuse a list that contradicts itself.

    Raises:
        SignatureError: The message names the field.
    """
    if not 0 < trust.version < 2**63:
        msg = f"{what}: version is {trust.version}; it must be at least 1 and below 2**63"
        raise SignatureError(msg)
    for keyid, key in trust.keys.items():
        try:
            require_name(key.name)
        except UsageError as error:
            msg = f"{what}: {error}"
            raise SignatureError(msg) from None
        if keyid != key_id(public_bytes(key)):
            msg = f"{what}: key {key.name!r} stands under {short(keyid)}, which is not the SHA-256 of its public bytes"
            raise SignatureError(msg)
        if keyid in trust.revoked:
            msg = f"{what}: key {key.name!r} is both trusted and revoked"
            raise SignatureError(msg)
    names = [key.name for key in trust.keys.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{what}: several keys are called {', '.join(map(repr, twice))}"
        raise SignatureError(msg)
    if not any("trust" in key.roles for key in trust.keys.values()):
        msg = f"{what}: no key has the role 'trust', so that nobody could ever change the list"
        raise SignatureError(msg)


def _open(opened: Envelope, what: str) -> TrustList:
    trust = decode_statement(opened, TrustList, TRUST_FORMAT, what)
    require_sound(trust, what)
    require_signature(opened, "trust", trust, f"{what}, by its own keys,")
    return trust
