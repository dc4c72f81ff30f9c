"""Engines that are there already: a graph that has not changed need not be compiled again on the same device."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from st4vla.contracts.errors import FileAlteredError, FileMissingError, ManifestError
from st4vla.contracts.files import FileEntry, read_manifest, verify_files
from st4vla.contracts.manifests import (
    BUNDLE_FORMAT,
    BUNDLE_MANIFEST,
    ENGINES_FORMAT,
    ENGINES_MANIFEST,
    BundleManifest,
    DeviceFingerprint,
    EnginesManifest,
)


@dataclass(frozen=True)
class EarlierEngines:
    """Engines of another bundle.

    Attributes:
        bundle: That bundle's manifest.
        engines: Theirs.
        folder: Where they lie.
    """

    bundle: BundleManifest
    engines: EnginesManifest
    folder: Path

    @classmethod
    def read(cls, bundle: Path, engines: Path) -> EarlierEngines | None:
        """Return the engines in a folder, made from the bundle in another; None where there are none."""
        with suppress(ManifestError):
            return cls(
                read_manifest(bundle / BUNDLE_MANIFEST, BundleManifest, BUNDLE_FORMAT),
                read_manifest(engines / ENGINES_MANIFEST, EnginesManifest, ENGINES_FORMAT),
                engines,
            )
        return None

    def fit(self, bundle: BundleManifest, graph: str, fingerprint: DeviceFingerprint) -> bool:
        """Say whether one of them is what compiling a bundle's graph on a device would give."""
        return fingerprint == self.engines.fingerprint and _contents(bundle, graph) == _contents(self.bundle, graph)

    def take(self, bundle: BundleManifest, graph: str, fingerprint: DeviceFingerprint, work: Path) -> bool:
        """Give an engine a second name in a folder, if it is what compiling a bundle's graph would give.

        Args:
            bundle: The bundle to compile.
            graph: Which of its graphs.
            fingerprint: This device.
            work: Where the engine is to lie, under the name that it has.

        Returns:
            Whether it lies there now. It is not taken if the graph, its weights or its sizes are others, if it was
            compiled elsewhere, or if its bytes are no longer those that were checked.
        """
        if not self.fit(bundle, graph, fingerprint):
            return False
        engine = self.engines.engines[graph].file
        files = {name: entry for name, entry in self.engines.files.items() if _belongs(name, engine)}
        # Whatever keeps it from being taken, it can be compiled.
        with suppress(FileMissingError, FileAlteredError, OSError):
            verify_files(self.folder, files)
            for name in files:
                os.link(self.folder / name, work / name)
            return True
        for name in files:
            (work / name).unlink(missing_ok=True)
        return False


def _contents(bundle: BundleManifest, graph: str) -> tuple[object, dict[str, FileEntry], object]:
    """Return all that an engine is made from: tensors, files, and what the dynamic dimensions may be."""
    spec = bundle.graphs[graph]
    files = {name: entry for name, entry in bundle.files.items() if _belongs(name, spec.file)}
    return spec, files, bundle.sizes


def _belongs(name: str, file: str) -> bool:
    """Say whether a file is the one named, or holds its weights beside it."""
    return name == file or name.startswith(f"{file}.")
