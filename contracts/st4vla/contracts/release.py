"""What is signed: a bundle's release, and the list of keys that a device trusts."""

from __future__ import annotations

from typing import Literal

import msgspec

RELEASE_FORMAT = 1
TRUST_FORMAT = 1
#: File beside `bundle.json`. The manifest does not name it, since it names the manifest.
RELEASE_FILE = "release.json"
RELEASE_TYPE = "application/vnd.st4vla.release+json"
TRUST_TYPE = "application/vnd.st4vla.trust+json"

#: What a key may sign: releases of bundles, or lists of trusted keys.
Role = Literal["release", "trust"]


class LatencyBudget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the systems may take on the device, at the median of the golden inputs; None is without a limit.

    Attributes:
        system1_ms: From views to a chunk: the graph `bridge`, and the sampler with all its steps.
        system2_ms: The graph `planner`.
    """

    system1_ms: float | None = None
    system2_ms: float | None = None

    def __post_init__(self) -> None:
        """Refuse a budget that nothing could keep."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                msg = f"budget {name} is {value:g}; it must be positive and finite, or left out"
                raise ValueError(msg)


class Requirements(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices a release is for; an empty tuple takes all.

    Attributes:
        machines: Instruction sets, such as ``aarch64``.
        jetpacks: Beginnings of a Jetson's L4T release, such as ``36.4``; it is read from ``/etc/nv_tegra_release``.
        backends: Engine libraries, such as ``tensorrt``.
        power_modes: Names of nvpmodel's modes, such as ``MAXN``.
        memory_bytes: Least physical memory.
    """

    machines: tuple[str, ...] = ()
    jetpacks: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    power_modes: tuple[str, ...] = ()
    memory_bytes: int = 0


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What its signer says of a bundle.

    Attributes:
        format_version: `RELEASE_FORMAT`.
        bundle_name: The manifest's name. Counters are kept by it.
        manifest_sha256: Of the bytes of `bundle.json`, hexadecimal; that names the digest of every other file.
        counter: Grows with every release of this name. A device takes none that is below what it has committed.
        signed_at: UTC, ISO 8601; for people, nothing is decided by it.
        requires: Which devices it is for.
        budget: How long its systems may take there.
        note: What is new, for people.
    """

    format_version: int
    bundle_name: str
    manifest_sha256: str
    counter: int
    signed_at: str
    requires: Requirements = Requirements()
    budget: LatencyBudget = LatencyBudget()
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse a counter that cannot grow, or of a size that other programs cannot hold."""
        if not 0 < self.counter < 2**63:
            msg = f"counter {self.counter}: must be at least 1 and below 2**63"
            raise ValueError(msg)


class TrustedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key of a trust list.

    Attributes:
        name: What people call it.
        public: 32 bytes of Ed25519, in Base64.
        roles: What it may sign.
    """

    name: str
    public: str
    roles: tuple[Role, ...]


class RevokedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that is trusted no more, and why, for the message that somebody will read who still uses it."""

    name: str
    why: str


class TrustList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys that a device trusts.

    A device's first list is put there by hand; each later one has a higher version and is signed by a key that the list
    before it trusts for that.

    Attributes:
        format_version: `TRUST_FORMAT`.
        version: Grows with every change.
        keys: Key id (see `Signature.keyid`) to key.
        revoked: Key id to what became of it; such a key is never taken again.
    """

    format_version: int
    version: int
    keys: dict[str, TrustedKey]
    revoked: dict[str, RevokedKey] = {}
