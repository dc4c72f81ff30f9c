"""Signatures and trust: who may sign releases, who may change that list, and whether somebody did.

Ed25519 signatures in DSSE envelopes. Secret keys are used where bundles are released; a device only verifies.
"""

from st4vla.runtime.signing.bundles import read_release, verify_bundle
from st4vla.runtime.signing.releases import verify_release
from st4vla.runtime.signing.trust import accept_trust, open_trust, read_trust

__all__ = ["accept_trust", "open_trust", "read_release", "read_trust", "verify_bundle", "verify_release"]
