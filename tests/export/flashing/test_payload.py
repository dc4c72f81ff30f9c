"""Tests that nothing travels that is not signed and whole."""

from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.errors import FileAlteredError, FileMissingError, ManifestError, SignatureError
from st4vla.contracts.flash_messages import WantedObject
from st4vla.contracts.manifests import BUNDLE_MANIFEST
from st4vla.contracts.release import RELEASE_FILE, TrustList
from st4vla.export.flashing.payload import Payload, open_payload


def test_a_signed_bundle_is_opened_and_whole(payload: Payload) -> None:
    payload.verify()
    assert payload.release.bundle_name == "tiny"
    assert payload.size == sum(entry.size for entry in payload.files.values())
    name, entry = next(iter(payload.files.items()))
    assert payload.path(entry.sha256) == (payload.folder / name, entry.size)
    assert payload.names([WantedObject(entry.sha256, entry.size)]) == [name]


def test_a_bundle_without_a_release_is_refused(payload: Payload, signer: Any) -> None:
    (payload.folder / RELEASE_FILE).unlink()
    with pytest.raises(SignatureError, match=r"release\.json is not there, so the bundle is not signed"):
        open_payload(payload.folder, signer.trust)


def test_a_key_that_is_not_trusted_is_refused(payload: Payload) -> None:
    with pytest.raises(SignatureError):
        open_payload(payload.folder, TrustList(1, 1, {}))


def test_a_manifest_that_was_altered_after_signing_is_refused(payload: Payload, signer: Any) -> None:
    path = payload.folder / BUNDLE_MANIFEST
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(FileAlteredError, match=r"bundle\.json is not the one that was signed"):
        open_payload(payload.folder, signer.trust)


def test_a_folder_that_holds_no_bundle_is_refused(signer: Any, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is not there"):
        open_payload(tmp_path, signer.trust)


@pytest.mark.parametrize("name", ["planner.onnx.data", "tokenizer.json"])
def test_a_file_that_was_altered_is_named(payload: Payload, name: str) -> None:
    path = payload.folder / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(FileAlteredError, match=f"{name} was altered"):
        payload.verify()


def test_a_file_that_is_missing_is_named(payload: Payload) -> None:
    (payload.folder / "sampler.onnx").unlink()
    with pytest.raises(FileMissingError, match=r"sampler\.onnx is missing"):
        payload.verify()
