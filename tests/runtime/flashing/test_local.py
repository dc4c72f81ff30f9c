from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.errors import FileAlteredError, FileMissingError, SignatureError
from st4vla.contracts.manifests import Bundle
from st4vla.contracts.release import RELEASE_FILE
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.local import bring, offer_folder
from st4vla.runtime.flashing.store import Store


@pytest.fixture
def stick(device: Any, bundle: Bundle) -> Path:
    """Return a folder with a signed bundle."""
    (bundle.folder / RELEASE_FILE).write_bytes(device.release(bundle, 1))
    return bundle.folder


def nothing(*_: object) -> None:
    """Show no progress."""


def test_a_folder_is_copied_and_each_file_counted(device: Any, bundle: Bundle, stick: Path) -> None:
    said: list[tuple[str, int, int]] = []
    offer = bring(device.layout, DeviceConfig(), stick, lambda *words: said.append(words))
    assert offer.digest == bundle.digest
    assert not Store(device.layout).missing(bundle.manifest.files)
    assert said[-1] == ("files copied", len(said), len(said))
    said.clear()
    bring(device.layout, DeviceConfig(), stick, lambda *words: said.append(words))
    assert not said


def test_offering_a_folder_needs_no_file_of_it_and_copies_none(device: Any, bundle: Bundle, stick: Path) -> None:
    (stick / "tokenizer.json").unlink()
    assert offer_folder(device.layout, stick).digest == bundle.digest
    assert len(Store(device.layout).missing(bundle.manifest.files)) == len(bundle.manifest.files)


def test_files_that_the_device_has_need_not_be_in_the_folder(
    device: Any, bundle: Bundle, stick: Path, variant: Callable[..., Bundle]
) -> None:
    bring(device.layout, DeviceConfig(), stick, nothing)
    other = variant("other")
    (other.folder / RELEASE_FILE).write_bytes(device.release(other, 2))
    changed = [name for name, entry in other.manifest.files.items() if bundle.manifest.files[name] != entry]
    for name in set(other.manifest.files) - set(changed):
        other.path(name).unlink()
    assert bring(device.layout, DeviceConfig(), other.folder, nothing).digest == other.digest
    assert changed == ["tokenizer.json"]


def test_a_folder_that_is_not_whole_is_refused_and_the_file_is_named(device: Any, stick: Path) -> None:
    data = (stick / "tokenizer.json").read_bytes()
    (stick / "tokenizer.json").write_bytes(data[:-1] + b"?")
    with pytest.raises(FileAlteredError, match=r"tokenizer\.json was altered"):
        bring(device.layout, DeviceConfig(), stick, nothing)
    (stick / "tokenizer.json").unlink()
    with pytest.raises(FileMissingError, match=r"tokenizer\.json is missing"):
        bring(device.layout, DeviceConfig(), stick, nothing)
    (stick / "bundle.json").unlink()
    with pytest.raises(FileMissingError, match=r"bundle\.json cannot be read"):
        offer_folder(device.layout, stick)
    (stick / RELEASE_FILE).unlink()
    with pytest.raises(SignatureError, match=r"release\.json is not there, so the bundle is not signed"):
        offer_folder(device.layout, stick)
