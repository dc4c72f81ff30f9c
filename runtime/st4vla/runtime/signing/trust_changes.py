"""Changes of trust lists; each gives a list that is one version newer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from st4vla.contracts.errors import UsageError
from st4vla.contracts.release import TRUST_FORMAT, TRUST_TYPE, RevokedKey, Role, TrustList
from st4vla.runtime.signing.public_keys import PublicKey
from st4vla.runtime.signing.statements import sign_statement
from st4vla.runtime.signing.trust import accept_trust, open_trust, require_sound

if TYPE_CHECKING:
    from st4vla.runtime.signing.ed25519 import SecretKey


def new_trust(keys: Sequence[tuple[PublicKey, tuple[Role, ...]]]) -> TrustList:
    """Return a first list."""
    trust = TrustList(TRUST_FORMAT, 0, {})
    for key, roles in keys:
        trust = _with_key(trust, key, roles)
    return msgspec.structs.replace(trust, version=1)


def add_key(trust: TrustList, key: PublicKey, roles: tuple[Role, ...]) -> TrustList:
    """Return a list that trusts one more key.

    Raises:
        UsageError: It has no roles, is there already, has another's name, or was revoked.
    """
    return _next(_with_key(trust, key, roles))


def revoke_key(trust: TrustList, name: str, why: str) -> TrustList:
    """Return a list that trusts a key no more, for good.

    Args:
        trust: The list before.
        name: What the key is called there, or the beginning of its id.
        why: For whoever still uses it.

    Raises:
        UsageError: There is no such key, or no reason.
    """
    if not why.strip() or not why.isprintable():
        msg = f"--why {why!r}: say in one line why the key is revoked; whoever still uses it will read that"
        raise UsageError(msg)
    keyid = find_key(trust, name)
    keys = {other: key for other, key in trust.keys.items() if other != keyid}
    revoked = {**trust.revoked, keyid: RevokedKey(trust.keys[keyid].name, why.strip())}
    return _next(msgspec.structs.replace(trust, keys=keys, revoked=revoked))


def find_key(trust: TrustList, name: str) -> str:
    """Return the id of a key of a list, by its name or the beginning of its id, of at least 8 characters.

    Raises:
        UsageError: There is none, or several begin so.
    """
    found = [keyid for keyid, key in trust.keys.items() if key.name == name] or [
        keyid for keyid in trust.keys if len(name) >= 8 and keyid.startswith(name)
    ]
    if len(found) != 1:
        gone = [key for keyid, key in trust.revoked.items() if name in (key.name, keyid)]
        if gone:
            msg = f"key {name!r} is revoked already: {gone[0].why}"
            raise UsageError(msg)
        known = ", ".join(sorted(key.name for key in trust.keys.values()))
        msg = f"the trust list has {'several keys' if found else 'no key'} {name!r}; it has {known}"
        raise UsageError(msg)
    return found[0]


def sign_trust(trust: TrustList, before: TrustList | None, keys: Sequence[SecretKey]) -> bytes:
    """Return the envelope of a list, which a device that has the list before it takes.

    Raises:
        SignatureError: No device would: the keys may not sign it, or it locks everybody out.
    """
    require_sound(trust, "the new trust list")
    envelope = sign_statement(TRUST_TYPE, trust, keys)
    if before is None:
        open_trust(envelope, "the new trust list")
    else:
        accept_trust(before, envelope)
    return envelope


def _next(trust: TrustList) -> TrustList:
    return msgspec.structs.replace(trust, version=trust.version + 1)


def _with_key(trust: TrustList, key: PublicKey, roles: tuple[Role, ...]) -> TrustList:
    if not roles:
        msg = f"key {key.name!r}: its file names no role; say with --role what it may sign"
        raise UsageError(msg)
    revoked = trust.revoked.get(key.key_id)
    if revoked is not None:
        msg = f"key {key.name!r} was revoked, as {revoked.name!r} ({revoked.why}), and never comes back; make a new key"
        raise UsageError(msg)
    if key.key_id in trust.keys:
        msg = f"key {key.name!r} is on the list already, as {trust.keys[key.key_id].name!r}"
        raise UsageError(msg)
    taken = [one.name for one in trust.keys.values()] + [one.name for one in trust.revoked.values()]
    if key.name in taken:
        msg = f"another key is or was called {key.name!r} on this list; choose another name with --name"
        raise UsageError(msg)
    return msgspec.structs.replace(trust, keys={**trust.keys, key.key_id: key.trusted(roles)})
