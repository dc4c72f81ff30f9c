from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from st4vla.contracts.errors import (
    FileAlteredError,
    FileMissingError,
    FingerprintMismatchError,
    FlashError,
    ManifestError,
    SignatureError,
)
from st4vla.contracts.manifests import Bundle, DeviceFingerprint
from st4vla.contracts.release import RELEASE_FILE
from st4vla.runtime.compiling import compile_bundle
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.offers import Offers
from st4vla.runtime.flashing.recovering import recover
from st4vla.runtime.flashing.slots import clear_slot, finish_slot, inactive, read_slot, stage_slot, verify_slot
from st4vla.runtime.flashing.state import SLOT_FORMAT, DeviceState, SlotRecord, Trial, write_state
from st4vla.runtime.flashing.store import Store

HERE = DeviceFingerprint(machine="x86_64", processor="this", backend="onnxruntime", compiler="1")


def record_of(bundle: Bundle) -> SlotRecord:
    return SlotRecord(SLOT_FORMAT, bundle.manifest.name, bundle.digest, 1, "ab", "2026-01-01T00:00:00Z", "a1")


def fill(device: Any, name: Any, bundle: Bundle) -> None:
    stage_slot(device.layout, name, device.bring(bundle))
    slot = device.layout.slot(name)
    compile_bundle(Bundle(slot.bundle), OnnxRuntimeBackend(), HERE, slot.engines)
    finish_slot(device.layout, name, record_of(bundle))


def test_a_slot_holds_something_from_its_last_file_to_its_first(device: Any, bundle: Bundle) -> None:
    layout = device.layout
    stage_slot(layout, "a", device.bring(bundle))
    assert read_slot(layout, "a") is None
    for name, entry in bundle.manifest.files.items():
        assert (layout.slot("a").bundle / name).samefile(layout.object(entry.sha256))
    layout.slot("a").engines.mkdir()
    finish_slot(layout, "a", record_of(bundle))
    assert read_slot(layout, "a") == record_of(bundle)
    clear_slot(layout, "a")
    assert read_slot(layout, "a") is None
    assert not layout.slot("a").folder.exists()
    clear_slot(layout, "a")


def test_a_slot_is_verified_to_its_last_byte(device: Any, bundle: Bundle) -> None:
    fill(device, "a", bundle)
    slot = device.layout.slot("a")
    verify_slot(device.layout, "a", HERE)
    with pytest.raises(FingerprintMismatchError, match="processor: 'that' here, 'this' there"):
        verify_slot(device.layout, "a", msgspec.structs.replace(HERE, processor="that"))
    for path in [*slot.bundle.iterdir(), *slot.engines.iterdir()]:
        data = path.read_bytes()
        kept = path.rename(device.layout.root / "kept")
        with pytest.raises((FileMissingError, ManifestError)) as missing:
            verify_slot(device.layout, "a", HERE)
        path.write_bytes(data[:-9] + b"x" + data[-8:])
        with pytest.raises((FileAlteredError, ManifestError, SignatureError)) as altered:
            verify_slot(device.layout, "a", HERE)
        assert path.name in str(missing.value) or "no engines" in str(missing.value)
        assert path.name in str(altered.value) or path.name == "bundle.json"
        path.unlink()
        kept.rename(path)
    verify_slot(device.layout, "a", HERE)
    slot.record.unlink()
    with pytest.raises(FileMissingError, match="slot a holds no policy"):
        verify_slot(device.layout, "a", HERE)


def test_the_release_of_another_bundle_is_not_that_of_a_slot(device: Any, bundle: Bundle, other_bundle: Bundle) -> None:
    fill(device, "a", bundle)
    (device.layout.slot("a").bundle / RELEASE_FILE).write_bytes(device.release(other_bundle, 1))
    with pytest.raises(FileAlteredError, match=r"release\.json is not the release of the bundle beside it"):
        verify_slot(device.layout, "a", HERE)


def test_only_the_other_slot_is_written_to(device: Any, bundle: Bundle) -> None:
    layout, offer = device.layout, device.bring(bundle)
    assert inactive(DeviceState()) == "a"
    write_state(layout.state, DeviceState(active="a"))
    assert inactive(DeviceState(active="a")) == "b"
    stage_slot(layout, "b", offer)
    for change in (lambda: clear_slot(layout, "a"), lambda: stage_slot(layout, "a", offer)):
        with pytest.raises(FlashError, match="slot a serves, or is what a policy on trial gives way to"):
            change()
    write_state(layout.state, DeviceState(active="b", trial=Trial("b", "a", "", "a1")))
    for name in ("a", "b"):
        with pytest.raises(FlashError, match=f"slot {name} serves, or is what a policy on trial"):
            clear_slot(layout, name)  # type: ignore[arg-type]


def test_an_object_that_is_not_there_is_named(device: Any, bundle: Bundle) -> None:
    with pytest.raises(FileMissingError, match=r"of bridge\.onnx is not on this device; offer the bundle again"):
        stage_slot(device.layout, "a", device.take(bundle))
    assert read_slot(device.layout, "a") is None


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "bundle.json", "release.json"])
def test_a_file_that_leads_out_of_the_bundle_or_over_its_manifest_is_not_linked(
    device: Any, bundle: Bundle, name: str
) -> None:
    offer = device.bring(bundle)
    files = {name: bundle.manifest.files["golden.npz"]} | bundle.manifest.files
    straying = msgspec.structs.replace(offer.manifest, files=files)
    with pytest.raises(ManifestError, match="is no place for a file of a bundle"):
        stage_slot(device.layout, "a", type(offer)(offer.digest, straying, offer.release, offer.key_id, offer.folder))
    assert not (device.layout.slot("a").folder / "outside").exists()


def test_recovery_takes_away_what_is_half_made_and_nothing_else(
    device: Any, bundle: Bundle, variant: Callable[..., Bundle]
) -> None:
    layout: Layout = device.layout
    fill(device, "a", bundle)
    write_state(layout.state, DeviceState(active="a"))
    other = variant("other")
    stage_slot(layout, "b", device.bring(other))
    before = device.names()
    for path in (layout.root / ".state.json.x1", layout.offer("0").parent / ".abc", layout.slot("a").folder / ".slot"):
        path.write_bytes(b"half")
    (layout.offer("0").parent / ".half").mkdir()
    (layout.incoming / f"{'ab' * 32}.part").write_bytes(b"nobody's")
    said = recover(layout)
    assert "slot b was not finished and is empty now" in said
    assert len([line for line in said if "half written" in line]) == 4
    assert device.names() == {name for name in before if not name.startswith("slots/b")}
    assert recover(layout) == []
    verify_slot(layout, "a", HERE)
    for digest in (other.digest, bundle.digest):
        Offers(layout).drop(digest)
    assert "objects that nobody needs are gone" in recover(layout)[0]
    verify_slot(layout, "a", HERE)
    assert Store(layout).missing(other.manifest.files)
    assert Store(layout).missing(bundle.manifest.files) == ()


def test_recovery_of_a_new_device_has_nothing_to_do(tmp_path: Path) -> None:
    assert recover(Layout(tmp_path)) == []


def test_an_active_slot_that_is_damaged_is_left_to_whoever_decides(device: Any, bundle: Bundle) -> None:
    fill(device, "a", bundle)
    write_state(device.layout.state, DeviceState(active="a"))
    device.layout.slot("a").record.unlink()
    recover(device.layout)
    assert device.layout.slot("a").bundle.exists()
