"""A device's folder with a key that it trusts, and bundles that this key has signed."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from st4vla.contracts.files import file_entry, write_manifest
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle
from st4vla.contracts.release import (
    RELEASE_FORMAT,
    RELEASE_TYPE,
    TRUST_TYPE,
    LatencyBudget,
    Release,
    Requirements,
    TrustList,
)
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.offers import Offer, Offers
from st4vla.runtime.flashing.store import Store
from st4vla.runtime.flashing.trusting import take_trust
from st4vla.runtime.signing.ed25519 import SecretKey
from st4vla.runtime.signing.public_keys import PublicKey
from st4vla.runtime.signing.statements import sign_statement
from st4vla.runtime.signing.trust_changes import new_trust


class TrialDevice:
    """A device, and whoever releases bundles for it."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        root.mkdir()
        self.key = SecretKey.from_seed(bytes(32))
        self.trust = new_trust([(PublicKey("releaser", self.key.public, ("release", "trust")), ("release", "trust"))])
        take_trust(self.layout, self.signed_list(self.trust))

    def signed_list(self, trust: TrustList, *others: SecretKey) -> bytes:
        return sign_statement(TRUST_TYPE, trust, [self.key, *others])

    def release(
        self, bundle: Bundle, counter: int, requires: Requirements | None = None, budget: LatencyBudget | None = None
    ) -> bytes:
        release = Release(
            RELEASE_FORMAT,
            bundle.manifest.name,
            bundle.digest,
            counter,
            "2026-01-01T00:00:00Z",
            requires or Requirements(),
            budget or LatencyBudget(),
            "faster",
        )
        return sign_statement(RELEASE_TYPE, release, [self.key])

    def take(self, bundle: Bundle, counter: int = 1, **terms: Requirements | LatencyBudget) -> Offer:
        """Offer a bundle."""
        release = self.release(bundle, counter, **terms)  # type: ignore[arg-type]
        return Offers(self.layout).take(bundle.path(BUNDLE_MANIFEST).read_bytes(), release)

    def bring(self, bundle: Bundle, counter: int = 1, **terms: Requirements | LatencyBudget) -> Offer:
        """Offer a bundle, and bring its files."""
        offer = self.take(bundle, counter, **terms)
        for name, entry in offer.manifest.files.items():
            Store(self.layout).add_file(bundle.path(name), entry)
        return offer

    def names(self) -> set[str]:
        """Return the names of all that lies below the root, but for what locks."""
        root = self.layout.root
        return {str(path.relative_to(root)) for path in root.rglob("*")} - {"lock", "installing.lock"}


@pytest.fixture
def trial_device() -> type[TrialDevice]:
    return TrialDevice


@pytest.fixture
def device(tmp_path: Path) -> TrialDevice:
    return TrialDevice(tmp_path / "device")


@pytest.fixture
def variant(bundle: Bundle, tmp_path: Path) -> Callable[..., Bundle]:
    """Return a copy of the bundle, named by a word, of which one file is another."""

    def make(word: str, file: str = "tokenizer.json") -> Bundle:
        target = tmp_path / f"variant-{word}"
        target.mkdir()
        for name in bundle.manifest.files:
            (target / name).write_bytes(bundle.path(name).read_bytes())
        with (target / file).open("ab") as stream:
            # Neither JSON nor a ZIP archive minds.
            stream.write(b" " * (1 + len(word)) + b"\n")
        note = msgspec.structs.replace(bundle.manifest, preset=word)
        files = bundle.manifest.files | {file: file_entry(target / file)}
        write_manifest(target / BUNDLE_MANIFEST, msgspec.structs.replace(note, files=files))
        return Bundle(target)

    return make


@pytest.fixture
def other_bundle(variant: Callable[..., Bundle]) -> Bundle:
    return variant("other")
