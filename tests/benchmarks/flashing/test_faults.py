"""What a device must not take: each ends in the old policy and a sentence."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from st4vla.benchmarks.flashing.ground import Ground
from st4vla.benchmarks.flashing.jetson_files import JetsonFiles
from st4vla.benchmarks.flashing.stand_in import StandIn
from st4vla.contracts.errors import FileAlteredError, SignatureError
from st4vla.contracts.files import file_entry, write_manifest
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle
from st4vla.contracts.release import RELEASE_FILE, LatencyBudget, Requirements
from st4vla.export.signing import Terms


@pytest.fixture(autouse=True)
def _old_policy_serves(ground: Ground, device: StandIn) -> Iterator[None]:
    yield
    assert ground.serves(device) == "old"


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def unsign(folder: Path) -> None:
    (folder / RELEASE_FILE).unlink()


def alter_weights(folder: Path) -> None:
    # Those that the device does not have yet; it takes none of the others from anywhere.
    flip(folder / "sampler.onnx.data")


def alter_manifest(folder: Path) -> None:
    manifest = folder / BUNDLE_MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b'"preset": "tiny"', b'"preset": "tinY"'))


def degrade(folder: Path) -> None:
    """Let the golden numbers be another policy's: all engines then differ from them."""
    bundle = Bundle(folder)
    with np.load(folder / "golden.npz") as archive:
        golden = {key: archive[key] * (1.01 if "/output/" in key else 1) for key in archive}
    golden = {key: value.astype(np.float32) if "/output/" in key else value for key, value in golden.items()}
    np.savez(folder / "golden.npz", **golden)
    files = bundle.manifest.files | {"golden.npz": file_entry(folder / "golden.npz")}
    write_manifest(folder / BUNDLE_MANIFEST, replace(bundle.manifest, files=files))


@pytest.mark.parametrize(
    ("alter", "error", "sentence"),
    [
        (unsign, SignatureError, "release.json is not there, so the bundle is not signed"),
        (alter_weights, FileAlteredError, "sampler.onnx.data was altered"),
        (alter_manifest, FileAlteredError, "bundle.json is not the one that was signed"),
    ],
)
def test_what_was_altered_is_refused_by_the_host_and_by_the_device(
    ground: Ground,
    device: StandIn,
    *,
    tmp_path: Path,
    alter: Callable[[Path], None],
    error: type[Exception],
    sentence: str,
) -> None:
    bundle = ground.copy(tmp_path / "bundle", alter)
    with pytest.raises(error, match=sentence):
        ground.flash(device, bundle)
    # Somebody brings it on a stick, past the host.
    answer = device.st4vla("device", "install", str(bundle))
    assert answer.returncode == 1
    told = json.loads(answer.stdout.splitlines()[-1])
    assert told["error"] == error.__name__
    assert sentence in told["message"]


@pytest.mark.parametrize(
    ("terms", "error", "sentence"),
    [
        (Terms(Requirements(jetpacks=("35.",))), "PreflightError", "JetPack"),
        (Terms(Requirements(machines=("riscv64",))), "PreflightError", "riscv64"),
        (Terms(Requirements(power_modes=("MODE_15W",))), "PreflightError", "MODE_15W"),
        (Terms(Requirements(memory_bytes=1 << 50)), "PreflightError", "memory"),
        (Terms(Requirements(backends=("tensorrt",))), "PreflightError", "tensorrt"),
        (Terms(budget=LatencyBudget(system1_ms=0.01)), "BudgetError", "System 1 takes"),
    ],
)
def test_what_is_not_for_this_device_is_refused(
    ground: Ground, device: StandIn, *, tmp_path: Path, terms: Terms, error: str, sentence: str
) -> None:
    bundle = ground.copy(tmp_path / "bundle")
    ground.lab.sign(bundle, terms)
    result = ground.flash(device, bundle)
    assert (result.ok, result.error) == (False, error), result
    assert sentence in result.message
    assert result.step == ("latency" if error == "BudgetError" else "preflight")


def test_a_policy_that_does_not_come_to_its_golden_numbers_is_refused(
    ground: Ground, device: StandIn, tmp_path: Path
) -> None:
    bundle = ground.copy(tmp_path / "bundle", degrade)
    ground.lab.sign(bundle)
    result = ground.flash(device, bundle)
    assert (result.ok, result.error) == (False, "ParityError"), result
    assert "differs from the golden outputs" in result.message


def test_an_older_release_is_refused(ground: Ground, device: StandIn, tmp_path: Path) -> None:
    bundle = ground.copy(tmp_path / "bundle", unsign)
    ground.lab.sign(bundle, counter=9)
    result = ground.flash(device, bundle)
    assert (result.ok, result.error) == (False, "DowngradeError"), result
    assert "9" in result.message
    assert "10" in result.message


def test_a_device_that_is_too_hot_takes_nothing(ground: Ground, device: StandIn) -> None:
    system = device.folder / "system"
    JetsonFiles(temperature_c=95.0).write(system)
    result = ground.flash(device)
    JetsonFiles().write(system)
    assert (result.ok, result.error, result.step) == (False, "PreflightError", "preflight"), result
    assert "95" in result.message


def test_a_key_that_is_revoked_signs_nothing_any_more(ground: Ground, device: StandIn) -> None:
    """The last test of the file: the device keeps the newer list."""
    assert device.st4vla("device", "trust", str(ground.lab.newer_trust)).returncode == 0
    result = ground.flash(device)
    assert (result.ok, result.error) == (False, "SignatureError"), result
    assert "it lay open on a shared disk" in result.message
