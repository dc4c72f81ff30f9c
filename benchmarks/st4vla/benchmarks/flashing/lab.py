"""A laboratory's keys, its lists of them, and what it signs: all that a device must know before it takes a bundle."""

from __future__ import annotations

from pathlib import Path

from st4vla.contracts.release import Release
from st4vla.export.signing import Terms, sign_bundle
from st4vla.runtime.signing.secret_keys import make_signing_key, read_secret_key
from st4vla.runtime.signing.trust_changes import add_key, new_trust, revoke_key, sign_trust

FIRST, SECOND, OWNER = "first", "second", "owner"


class Lab:
    """Keys in a folder, made anew: `FIRST` and `SECOND` sign releases, `OWNER` signs lists.

    Args:
        folder: For the keys and the lists.

    Attributes:
        trust: File of the first list, which trusts `FIRST` and `OWNER`.
        newer_trust: File of the next one, on which `SECOND` has taken the place of `FIRST`, which is revoked.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        first, _, first_secret = make_signing_key(folder, FIRST, ("release",), force=True)
        second, _, second_secret = make_signing_key(folder, SECOND, ("release",), force=True)
        owner, _, owner_secret = make_signing_key(folder, OWNER, ("trust",), force=True)
        self._secrets = {FIRST: read_secret_key(first_secret), SECOND: read_secret_key(second_secret)}
        owners = [read_secret_key(owner_secret)]
        trusted = new_trust([(first, ("release",)), (owner, ("trust",))])
        self.trust, self.newer_trust = folder / "trust.json", folder / "newer_trust.json"
        self.trust.write_bytes(sign_trust(trusted, None, owners))
        newer = revoke_key(add_key(trusted, second, ("release",)), FIRST, "it lay open on a shared disk")
        self.newer_trust.write_bytes(sign_trust(newer, trusted, owners))

    def sign(
        self, bundle: Path, terms: Terms | None = None, *, counter: int | None = None, key: str = FIRST
    ) -> Release:
        """Sign a bundle, or sign it again with a higher counter.

        Args:
            bundle: Its folder.
            terms: Which devices it is for, and how fast it must be there.
            counter: Of the release; the next one when it is not given.
            key: `FIRST` or `SECOND`.
        """
        return sign_bundle(bundle, [self._secrets[key]], terms or Terms(), counter=counter)
